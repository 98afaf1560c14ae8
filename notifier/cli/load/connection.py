"""One of our sockets."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from notifier.cli.load.refused import Refused

if TYPE_CHECKING:
    from notifier.cli.load.load import Load

CONNECTING_SECONDS = 20.0
# What is read at once.
CHUNK = 1 << 18


class Connection:
    """A socket, and the bytes that wait for others."""

    def __init__(self, load: Load, events: int) -> None:
        self.load = load
        self.socket = load.open_socket()
        self.rest = b""
        load.selector.register(self.socket, events, self)

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
        self.load.selector.unregister(self.socket)
        self.socket.close()
