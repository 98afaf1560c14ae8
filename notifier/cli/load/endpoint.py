"""The server, and the channel on it, that are measured."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from notifier.client.address import Address

CONNECTING_SECONDS = 20.0


class Endpoint:
    """Where requests go, and what is the same in each of them.

    :param key: the API key that each request shows.
    """

    def __init__(
        self, address: Address, channel: str, *, key: str | None, tls: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(address.page())
        self.channel = channel
        self._authorization = [] if key is None else [f"Authorization: Bearer {key}"]
        self._host = parts.netloc.rpartition("@")[2]
        self._path = parts.path
        self._tls = None
        if parts.scheme == "https":
            self._tls = tls or ssl.create_default_context()
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """The beginning of a request, up to its body."""
        first = f"{method} {self._path}{path} HTTP/1.1"
        lines = (first, f"Host: {self._host}", *headers, *self._authorization, "", "")
        return "\r\n".join(lines).encode()

    def open_socket(self) -> socket.socket:
        """A new connection, which does not block.

        :raises OSError: there is none to be had.
        """
        plain = socket.create_connection((self._name, self._port), timeout=CONNECTING_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._tls.wrap_socket(plain, server_hostname=self._name) if self._tls else plain
        made.setblocking(False)
        return made
