"""The whole of it: connections to one server, and the loop that serves them."""

from __future__ import annotations

import contextlib
import selectors
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from notifier.cli.load.connection import CHUNK
from notifier.cli.load.endpoint import CONNECTING_SECONDS, Endpoint
from notifier.cli.load.publisher import Publisher
from notifier.cli.load.reader import Reader
from notifier.cli.load.refused import Refused
from notifier.cli.load.tally import Tally
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
        self._endpoint = Endpoint(address, channel, key=key, tls=tls)
        self._size = size
        self._selector = selectors.DefaultSelector()
        self._tally = Tally()
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
        for key in list(self._selector.get_map().values()):
            key.data.close()
        if error is None:
            self._delete()
        elif isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                self._delete()
        self._selector.close()

    def connect(self, count: int, advance: Advance) -> dict[str, float]:
        """Open so many sockets and subscribe with each."""
        begin, tally = time.monotonic(), self._tally
        while len(self._readers) < count or tally.waiting:
            if len(self._readers) < count and tally.waiting < _AT_ONCE:
                tally.waiting += 1
                self._readers.append(Reader(self._endpoint, self._selector, tally))
                self._turn(0)
            else:
                self._turn(0.1)
            if time.monotonic() > begin + CONNECTING_SECONDS + count / 100:
                raise Refused(f"{tally.waiting} sockets were told of no subscription")
            advance(len(self._readers) - tally.waiting)
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
        tally = self._tally
        for reader in self._readers:
            reader.place = reader.message = 0
        publishers = [
            Publisher(
                self._endpoint,
                self._selector,
                tally,
                source=source,
                size=self._size,
                batch=batch,
                on_answer=self._answered,
            )
            for source in range(connections)
        ]
        cpu, begin = time.process_time(), time.monotonic()
        tally.begin(begin)
        self._until, self._flat_out = begin + seconds, not rate
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
        spent, took = time.process_time() - cpu, max(tally.last - begin, 1e-9)
        expected = tally.published * len(self._readers)
        for publisher in publishers:
            publisher.close()
        return {
            "published": tally.published,
            "delivered": tally.delivered,
            "wrong": tally.stream.wrong + abs(expected - tally.delivered),
            "seconds": took,
            "published_per_second": tally.published / took,
            "delivered_per_second": tally.delivered / took,
            "busy": spent / max(time.monotonic() - begin, 1e-9),
            **_quantiles(tally.latencies),
        }

    def _answered(self, publisher: Publisher) -> None:
        self._tally.last = time.monotonic()
        if self._flat_out and self._tally.last < self._until:
            publisher.send()

    def hang_up(self) -> None:
        """Close the sockets that listen."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    def _drain(self, publishers: list[Publisher]) -> None:
        tally, end = self._tally, time.monotonic() + _PATIENCE_SECONDS
        while any(publisher.busy for publisher in publishers) or (
            tally.delivered < tally.published * len(self._readers)
        ):
            before = tally.delivered
            self._turn(0.1)
            if tally.delivered > before:
                end = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > end:
                return

    def _turn(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            key.data.on_event()

    def _delete(self) -> None:
        endpoint = self._endpoint
        path = f"/channels/{quote(endpoint.channel, safe='')}/history"
        made = endpoint.open_socket()
        with made:
            made.settimeout(CONNECTING_SECONDS)
            made.sendall(endpoint.head("DELETE", path, "Connection: close"))
            made.recv(CHUNK)


def _quantiles(values: list[float]) -> dict[str, Any]:
    if not values:
        return {}
    values = sorted(values)
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    last = len(values) - 1
    return {name: values[min(last, int(share * len(values)))] for name, share in shares}
