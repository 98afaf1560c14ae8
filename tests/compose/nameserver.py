"""A name server as small as can be: what Docker's is for a service that is scaled."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

_ANSWERS_A, _CLASS_IN = b"\x00\x01", b"\x00\x01"
# A pointer to the name in the question (RFC 1035 §4.1.4), which follows the header's twelve bytes.
_SAME_NAME = b"\xc0\x0c"
_TTL = (600).to_bytes(4)


class NameServer:
    """Answers every question for IPv4 addresses with ``addresses``, which may change."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._serve, name="name server")
        self._ended = False

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended:
            try:
                query, peer = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self._socket.sendto(self._answer(query), peer)

    def _answer(self, query: bytes) -> bytes:
        """RFC 1035 §4.1: the header, the question again, the answers."""
        end = 12
        while query[end]:
            end += query[end] + 1
        question = query[12 : end + 5]
        found = self.addresses if question[-4:-2] == _ANSWERS_A else []
        # A response, recursion desired and available, no error; one question, so many answers.
        head = query[:2] + b"\x81\x80\x00\x01" + len(found).to_bytes(2) + bytes(4)
        records = [
            _SAME_NAME + _ANSWERS_A + _CLASS_IN + _TTL + b"\x00\x04" + socket.inet_aton(address)
            for address in found
        ]
        return head + question + b"".join(records)
