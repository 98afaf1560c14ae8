"""The whole of it: connections to one server, and the loop that serves them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from notifier.cli.load.connection import CHUNK, CONNECTING_SECONDS
from notifier.cli.load.publisher import Publisher
from notifier.cli.load.reader import Reader
from notifier.cli.load.refused import Refused
from notifier.cli.load.stream import Stream
from notifier.client.address import Address

_PATIENCE_SECONDS = 3.0
_AT_ONCE = 100  # handshakes under way

Advance = Callable[[float], None]


class Load:
    """The connections to one server, and what went over them.

    Use as a context manager; what it published is deleted at its end.
    """

    def __init__(
        self,
        address: Address,
        channel: str,
        *,
        size: int,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(address.page())
        self.authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
        self.channel = channel
        self.size = size
        self.host = parts.netloc.rpartition("@")[2]
        self.path = parts.path
        self.selector = selectors.DefaultSelector()
        self.stream = Stream()
        self.waiting = 0
        self.published = 0
        self.delivered = 0
        self.last = 0.0
        self.latencies: list[float] = []
        self._tls = None
        if parts.scheme == "https":
            self._tls = tls or ssl.create_default_context()
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._readers: list[Reader] = []
        self._until = 0.0
        self._flat_out = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.close()
        if error is None:
            self._delete()
        elif isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                self._delete()
        self.selector.close()

    def open_socket(self) -> socket.socket:
        """A new connection, which does not block.

        :raises OSError: there is none to be had.
        """
        plain = socket.create_connection((self._name, self._port), timeout=CONNECTING_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._tls.wrap_socket(plain, server_hostname=self._name) if self._tls else plain
        made.setblocking(False)
        return made

    def connect(self, count: int, advance: Advance) -> dict[str, float]:
        """Open so many sockets and subscribe with each."""
        begin = time.monotonic()
        while len(self._readers) < count or self.waiting:
            if len(self._readers) < count and self.waiting < _AT_ONCE:
                self.waiting += 1
                self._readers.append(Reader(self))
                self._turn(0)
            else:
                self._turn(0.1)
            if time.monotonic() > begin + CONNECTING_SECONDS + count / 100:
                raise Refused(f"{self.waiting} sockets were told of no subscription")
            advance(len(self._readers) - self.waiting)
        seconds = time.monotonic() - begin
        return {"seconds": seconds, "per_second": count / seconds}

    def publish(
        self,
        seconds: float,
        *,
        advance: Advance,
        connections: int = 1,
        batch: int = 0,
        rate: float = 0.0,
    ) -> dict[str, float]:
        """Publish for so long, ``rate`` times a second or as soon as it is answered; then let
        everything arrive."""
        self.stream = Stream()
        self.published = self.delivered = 0
        self.latencies = []
        for reader in self._readers:
            reader.place = reader.message = 0
        publishers = [Publisher(self, source, batch) for source in range(connections)]
        cpu, begin = time.process_time(), time.monotonic()
        self._until, self._flat_out, self.last = begin + seconds, not rate, begin
        due = begin
        for publisher in publishers if self._flat_out else ():
            publisher.send()
        while (now := time.monotonic()) < self._until:
            if rate and now >= due and not publishers[0].busy:
                publishers[0].send()
                due += 1 / rate
            self._turn(max(0.0, min(due, self._until) - now) if rate else 0.05)
            advance(min(seconds, now - begin))
        self._drain(publishers)
        spent, took = time.process_time() - cpu, max(self.last - begin, 1e-9)
        expected = self.published * len(self._readers)
        for publisher in publishers:
            publisher.close()
        return {
            "published": self.published,
            "delivered": self.delivered,
            "wrong": self.stream.wrong + abs(expected - self.delivered),
            "seconds": took,
            "published_per_second": self.published / took,
            "delivered_per_second": self.delivered / took,
            "busy": spent / max(time.monotonic() - begin, 1e-9),
            **_quantiles(self.latencies),
        }

    def on_answer(self, publisher: Publisher) -> None:
        self.last = time.monotonic()
        if self._flat_out and self.last < self._until:
            publisher.send()

    def hang_up(self) -> None:
        """Close the sockets that listen."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    def _drain(self, publishers: list[Publisher]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(publisher.busy for publisher in publishers) or (
            self.delivered < self.published * len(self._readers)
        ):
            before = self.delivered
            self._turn(0.1)
            if self.delivered > before:
                end = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > end:
                return

    def _turn(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            key.data.on_event()

    def _delete(self) -> None:
        path = f"{self.path}/channels/{quote(self.channel, safe='')}/history"
        made = self.open_socket()
        with made:
            made.settimeout(CONNECTING_SECONDS)
            request = f"DELETE {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n"
            request += f"{self.authorization}\r\n"
            made.sendall(request.encode())
            made.recv(CHUNK)


def _quantiles(values: list[float]) -> dict[str, Any]:
    if not values:
        return {}
    values = sorted(values)
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    last = len(values) - 1
    return {name: values[min(last, int(share * len(values)))] for name, share in shares}
