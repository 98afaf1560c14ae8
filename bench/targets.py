"""What was to be reached, and what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.case import Figure, Outcome
from bench.estimate import Estimate, estimate

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Target:
    """``what`` is to be at most, or at least, ``limit``.

    :ivar reach: the values of the rounds, if they were measured.
    """

    what: str
    limit: float
    unit: str
    reach: Callable[[Outcomes], list[float]]
    at_least: bool = False

    def reached(self, outcomes: Outcomes) -> Estimate | None:
        return estimate(self.reach(outcomes))

    def met(self, reached: Estimate) -> bool:
        if self.at_least:
            return reached.median >= self.limit
        return reached.median <= self.limit

    @property
    def bound(self) -> str:
        limit = f"{self.limit:,.0f}" if self.limit >= 1000 else f"{self.limit:g}"
        return f"{'≥' if self.at_least else '≤'} {limit} {self.unit}".rstrip()


def _ratio(case: str, figure: str, side: str, other: str) -> Callable[[Outcomes], list[float]]:
    def reach(outcomes: Outcomes) -> list[float]:
        return outcomes[case].ratios(side, other, figure) if case in outcomes else []

    return reach


def _value(case: str, figure: str, side: str = "notifier") -> Callable[[Outcomes], list[float]]:
    def reach(outcomes: Outcomes) -> list[float]:
        if case not in outcomes:
            return []
        known: Figure = outcomes[case].case.figure(figure)
        return [value * known.scale for value in outcomes[case].values(side, figure)]

    return reach


def _storm(outcomes: Outcomes) -> list[float]:
    """CPU of those that resume, against bare handshakes and the bytes at the floor's cost."""
    if "storm" not in outcomes:
        return []
    resume, bare, floor = (
        outcomes["storm"].values(side, "cpu_per_client") for side in ("resume", "bare", "bytes")
    )
    return [a / (b + c) for a, b, c in zip(resume, bare, floor, strict=False)]


_CPU = "cpu_per_delivery"

TARGETS = (
    Target("CPU per delivery, 1,000 sockets paced, to the floor", 1.25, "×",
           _ratio("paced", _CPU, "notifier", "floor")),
    Target("CPU per delivery, 1,000 sockets paced, to Nchan", 1.0, "×",
           _ratio("paced", _CPU, "notifier", "nchan")),
    Target("CPU per delivery, 1,000 sockets paced, to write_message", 0.333, "×",
           _ratio("paced", _CPU, "notifier", "write_message")),
    Target("flat-out deliveries/s, single POSTs, to Nchan", 6, "×",
           _ratio("flat-out", "deliveries_per_second", "notifier", "nchan"), at_least=True),
    Target("flat-out, NDJSON: deliveries per core-second", 2_000_000, "",
           _value("batches", "deliveries_per_core"), at_least=True),
    Target("flat-out, NDJSON: p99", 50, "ms", _value("batches", "latency_p99")),
    Target("flat-out, through Redis: deliveries per core-second", 2_000_000, "",
           _value("redis-batches", "deliveries_per_core", "redis"), at_least=True),
    Target("flat-out, through Redis: p99", 50, "ms",
           _value("redis-batches", "latency_p99", "redis")),
    Target("15,000 sockets paced: longest stall", 25, "ms", _value("paced-many", "probe_max")),
    Target("15,000 sockets paced: p99, to the floor", 1.3, "×",
           _ratio("paced-many", "latency_p99", "notifier", "floor")),
    Target("an idle connection, Chrome's headers", 10, "KiB",
           _value("idle", "bytes_per_connection")),
    Target("an idle connection, to Nchan", 1.0, "×",
           _ratio("idle", "bytes_per_connection", "notifier", "nchan")),
    Target("1 % stuck readers: the others' p99, to none stuck", 1.1, "×",
           _ratio("slow", "latency_p99", "stuck", "none")),
    Target("1 % stuck readers: memory, growth in a turn", 64, "KiB",
           _value("slow", "grew_bytes", "stuck")),
    Target("one POST at a time, nobody listening, to an empty handler", 1.4, "×",
           _ratio("post", "cpu_per_publication", "notifier", "empty_handler")),
    Target("a POST with an API key, to one that nobody asks", 1.2, "×",
           _ratio("post-credentials", "cpu_per_publication", "key", "open")),
    Target("a POST with a token (HS256), to one that nobody asks", 1.25, "×",
           _ratio("post-credentials", "cpu_per_publication", "HS256", "open")),
    Target("a POST with a token (ES256), to one that nobody asks", 1.25, "×",
           _ratio("post-credentials", "cpu_per_publication", "ES256", "open")),
    Target("publications per core-second, NDJSON", 60_000, "",
           _value("ndjson", "publications_per_core", "memory"), at_least=True),
    Target("reconnect storm, to bare handshakes and the bytes alone", 1.3, "×", _storm),
    Target("jitter: delivered", 100, "%", _value("jitter", "delivered_percent"), at_least=True),
    Target("jitter: connected to last missed message, p99", 500, "ms",
           _value("jitter", "replay_p99")),
    Target("deploy: lost", 0, "", _value("deploy", "lost")),
    Target("deploy: all back, drain_seconds 10", 11, "s", _value("deploy", "back_seconds")),
    Target("CPU per delivery, one of 3 nodes on Redis, to memory", 1.1, "×",
           _ratio("redis-paced", _CPU, "redis", "memory")),
)  # fmt: skip
