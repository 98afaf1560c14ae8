"""Where the server is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

_WEBSOCKETS = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_PAGES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL, without its scheme: host, port, and perhaps a path."""

    scheme: str
    rest: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """:raises ValueError: if it is no URL of a server."""
        problem = ValueError(f"{url!r} is not a URL such as http://127.0.0.1:8888")
        try:
            parts = urlsplit(url)
            _ = parts.port  # it raises for what is none
        except ValueError:
            raise problem from None
        if parts.scheme not in _PAGES or not parts.hostname or parts.query or parts.fragment:
            raise problem
        path = parts.path.rstrip("/")
        if parts.scheme in ("ws", "wss"):
            path = path.removesuffix("/ws")  # what other WebSocket clients connect to
        return cls(parts.scheme, f"//{parts.netloc}{path}")

    @property
    def socket(self) -> str:
        """The URL of the native protocol."""
        return f"{_WEBSOCKETS[self.scheme]}:{self.rest}/ws"

    def page(self, *path: str, query: Iterable[tuple[str, str | int | None]] = ()) -> str:
        """The URL of a resource; parts of the path are quoted, absent parameters left out."""
        there = "".join("/" + quote(part, safe="") for part in path)
        asked = urlencode([(name, value) for name, value in query if value is not None])
        return f"{_PAGES[self.scheme]}:{self.rest}{there}" + (f"?{asked}" if asked else "")

    def __str__(self) -> str:
        """For people: without the credentials that may stand in it."""
        return f"{self.scheme}://{self.rest[2:].rpartition('@')[2]}"
