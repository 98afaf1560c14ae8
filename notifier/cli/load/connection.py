"""One of our sockets."""

from __future__ import annotations

import selectors
import ssl

from notifier.cli.load.endpoint import Endpoint
from notifier.cli.load.refused import Refused
from notifier.cli.load.tally import Tally

# What is read at once.
CHUNK = 1 << 18


class Connection:
    """A socket, and the bytes that wait for others."""

    def __init__(self, endpoint: Endpoint, selector: selectors.BaseSelector, tally: Tally) -> None:
        self.endpoint = endpoint
        self.tally = tally
        self.socket = endpoint.open_socket()
        self.rest = b""
        self._selector = selector
        selector.register(self.socket, selectors.EVENT_READ, self)

    def on_event(self) -> None:
        data = self.receive()
        if data:
            self.on_data(data)

    def receive(self) -> bytes:
        data = self.rest
        while True:
            try:
                got = self.socket.recv(CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return data
            if not got:
                raise Refused("the server hung up on one of our connections")
            data += got
            if not isinstance(self.socket, ssl.SSLSocket):
                return data

    def on_data(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._selector.unregister(self.socket)
        self.socket.close()
