"""What Prometheus reads: the node's counts and state, and those of its process.

Nothing is kept here. At each scrape the numbers are read from where they are, each in constant
time, however many connections and channels there are. No label holds what a client has sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from notifier.counts import Counts, Histogram, Traffic


@dataclass(frozen=True, slots=True)
class State:
    """How a node is just now, as far as it is not among its counts.

    :param blocked: connections that take nothing more for now.
    :param patterns: subscriptions to a pattern.
    :param channels: that somebody on this node follows.
    :param held_bytes: of publications, held ready for those who catch up.
    :param trouble: the broker can't be relied on.
    :param revocations: tokens that are good no longer, though their time is not over.
    :param forgotten_revocations: how many were more than are remembered.
    :param api_keys_trouble: the file of API keys can't be used.
    :param keys_trouble: the keys that verify tokens could not be read or fetched the last time.
    """

    blocked: int
    patterns: int
    channels: int
    held_bytes: int
    trouble: bool
    draining: bool
    revocations: int
    forgotten_revocations: int
    api_keys_trouble: bool
    keys_trouble: bool


class Metrics(Collector):
    """One server's registry.

    :param state: asked at each scrape; must answer in constant time.
    :param version: of this server.
    :param max_connections: the limit that open connections are compared with.
    """

    def __init__(
        self, counts: Counts, state: Callable[[], State], *, version: str, max_connections: int
    ) -> None:
        self._counts = counts
        self._state = state
        self._version = version
        self._max_connections = max_connections
        self._process = ProcessCollector(registry=None)
        self._process_metrics: list[Metric] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)
        PlatformCollector(self._registry)
        GCCollector(self._registry)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and their content type.

        :param accept: which formats the client takes (RFC 9110 §12.5.1).
        """
        # Counting the open files means listing them: some 10 ms for 15,000, spent elsewhere.
        self._process_metrics = await asyncio.to_thread(lambda: list(self._process.collect()))
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # it stumbles over a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "notifier_build", "The version that runs.", value={"version": self._version}
        )
        yield from self._connections()
        yield from self._subscriptions()
        yield from self._publications()
        yield from self._deliveries()
        yield from self._health()
        yield from self._process_metrics

    def _connections(self) -> Iterator[Metric]:
        traffic = self._counts.traffic.values()
        yield _gauges(
            "notifier_connections",
            "Connections open now.",
            ("transport",),
            (((each.transport,), each.open) for each in traffic),
        )
        yield GaugeMetricFamily(
            "notifier_connections_limit",
            "Connections this node takes (setting max_connections).",
            self._max_connections,
        )
        yield GaugeMetricFamily(
            "notifier_connections_blocked",
            "Connections that take nothing more for now: their clients read too slowly.",
            self._state().blocked,
        )
        yield _counters(
            "notifier_connections_opened",
            "Connections opened.",
            ("transport",),
            (((each.transport,), each.opened) for each in traffic),
        )
        yield _counters(
            "notifier_connections_closed",
            "Connections that ended, by why: a word, or the close code this server chose.",
            ("transport", "reason"),
            (
                ((each.transport, reason), count)
                for each in traffic
                for reason, count in each.closed.items()
            ),
        )

    def _subscriptions(self) -> Iterator[Metric]:
        counts, state = self._counts, self._state()
        yield _gauges(
            "notifier_subscriptions",
            "Subscriptions of a connection to a channel: live, or catching up.",
            ("standing",),
            [
                (("live",), counts.live),
                (("catching_up",), counts.subscriptions - counts.live),
            ],
        )
        yield CounterMetricFamily(
            "notifier_subscriptions_fell_behind",
            "How often a live subscription had to catch up.",
            counts.fell_behind,
        )
        yield GaugeMetricFamily(
            "notifier_patterns", "Subscriptions of a connection to a pattern.", state.patterns
        )
        yield GaugeMetricFamily(
            "notifier_channels", "Channels that somebody on this node follows.", state.channels
        )
        yield GaugeMetricFamily(
            "notifier_feeds_bytes",
            "Publications this node holds ready for those who catch up (setting feeds_bytes).",
            state.held_bytes,
        )
        yield _counters(
            "notifier_gaps",
            "Gaps that subscribers were told of.",
            ("transport", "cause"),
            (
                ((each.transport, cause), count)
                for each in self._followers()
                for cause, count in each.gaps.items()
            ),
        )
        yield _counters(
            "notifier_history_reads",
            "Pages of history read from the broker.",
            ("reader",),
            (((reader,), count) for reader, count in counts.history_reads.items()),
        )

    def _publications(self) -> Iterator[Metric]:
        intakes = self._counts.intakes.items()
        yield _counters(
            "notifier_publications",
            "Publications stored; a notification for three channels is three.",
            ("source",),
            (((source,), intake.stored) for source, intake in intakes),
        )
        yield _counters(
            "notifier_publications_repeated",
            "Publications stored before, under the same idempotency key.",
            ("source",),
            (((source,), intake.repeated) for source, intake in intakes),
        )
        yield _counters(
            "notifier_publications_refused",
            "Notifications, or publications of one, that were refused, by the error's code.",
            ("source", "code"),
            (
                ((source, str(code)), count)
                for source, intake in intakes
                for code, count in intake.refused.items()
            ),
        )
        yield _histograms(
            "notifier_publish_seconds",
            "From when a notification's turn came until the broker had answered for it.",
            ("source",),
            (((source,), intake.seconds) for source, intake in intakes),
        )

    def _deliveries(self) -> Iterator[Metric]:
        traffic = self._followers()
        yield _counters(
            "notifier_deliveries",
            "Publications sent, each to one connection.",
            ("transport",),
            (((each.transport,), each.publications) for each in traffic),
        )
        yield _counters(
            "notifier_delivered_bytes",
            "Bytes of these, with their frames.",
            ("transport",),
            (((each.transport,), each.bytes) for each in traffic),
        )
        yield _histograms(
            "notifier_pass_receivers",
            "Live subscriptions that one flush of a channel was sent to.",
            (),
            [((), self._counts.receivers)],
        )

    def _followers(self) -> list[Traffic]:
        """The transports on which channels can be followed."""
        return [each for each in self._counts.traffic.values() if each.transport != "echo"]

    def _health(self) -> Iterator[Metric]:
        state = self._state()
        yield _counters(
            "notifier_errors",
            "Refusals told to clients, by the error's code.",
            ("code",),
            (((str(code),), count) for code, count in self._counts.errors.items()),
        )
        yield _histograms(
            "notifier_loop_lag_seconds",
            "How late the event loop is, looked at ten times a second.",
            (),
            [((), self._counts.loop_lag)],
        )
        yield GaugeMetricFamily(
            "notifier_broker_trouble", "1 while the broker can't be relied on.", state.trouble
        )
        yield GaugeMetricFamily(
            "notifier_revocations",
            "Revoked tokens, and users, that are remembered, until their time is over.",
            state.revocations,
        )
        yield CounterMetricFamily(
            "notifier_revocations_forgotten",
            "Revocations that were more than are remembered, and are in force no longer.",
            state.forgotten_revocations,
        )
        yield GaugeMetricFamily(
            "notifier_api_keys_trouble",
            "1 while the keys_file can't be used; the keys that were in it count on.",
            state.api_keys_trouble,
        )
        yield GaugeMetricFamily(
            "notifier_token_keys_trouble",
            "1 while keys of tokens can't be read or fetched; those that are there count on.",
            state.keys_trouble,
        )
        yield GaugeMetricFamily(
            "notifier_draining", "1 while this node sends its clients away.", state.draining
        )


def _gauges(
    name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counters(
    name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histograms(
    name: str,
    text: str,
    labels: tuple[str, ...],
    samples: Iterable[tuple[tuple[str, ...], Histogram]],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in samples:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        buckets[-1] = ("+Inf", total)
        family.add_metric(values, buckets, histogram.sum)
    return family
