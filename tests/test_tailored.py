"""Connections that get bytes of their own, and those that can't be told of a gap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from notifier.notification import Gap
from notifier.wire.prepared import Format, Prepared
from notifier.wire.raw import RAW
from notifier.wire.resume import All, Latest
from tests.nodebench import Bench, FakeConnection


class First:
    """A tailor that fits no more than one item at a time."""

    def __init__(self) -> None:
        self.count = 0

    def fit(self, items: Sequence[Prepared], format: Format) -> list[bytes]:
        return [items[0].encoded(format)]

    def sent(self, items: Sequence[Prepared]) -> None:
        self.count += len(items)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(max_subscriptions=4, feed_size=1)
    yield bench
    bench.end()


def read_all(bench: Bench, connection: FakeConnection) -> list[str]:
    """What it gets, as slowly as it reads."""
    told: list[str] = []
    for _ in range(30):
        bench.loop.run()
        told += [message.partition(" ")[0] for _, message in connection.told()]
    return told


def test_one_that_is_served_in_parts_gets_all_of_it_in_order(bench: Bench) -> None:
    tailor = First()
    tailored, plain = bench.connect(tailor=tailor), bench.connect()
    for connection in (tailored, plain):
        bench.subscribe(connection, "a", Latest())
    bench.loop.run()
    for number in range(3):
        bench.publish(str(number))
    assert read_all(bench, tailored) == read_all(bench, plain) == ["0", "1", "2"]
    assert tailor.count == 3


def test_one_that_was_cut_goes_on_from_history_when_the_ring_has_moved_on(bench: Bench) -> None:
    tailored = bench.connect(tailor=First())
    bench.subscribe(tailored, "a", Latest())
    bench.loop.run()
    # The kernel takes three of them; all are in one pass, and the ring keeps one.
    for number in range(12):
        bench.publish(f"{number} " + "x" * 200)
    bench.loop.run()
    bench.publish("12")
    assert read_all(bench, tailored) == [str(number) for number in range(13)]


def test_one_that_cannot_be_told_of_a_gap_is_told_of_it_aside_and_gets_no_more(
    bench: Bench,
) -> None:
    gaps: list[Gap] = []

    def close(gap: Gap) -> None:
        gaps.append(gap)
        raw.sink.finish(b"")

    plain, raw = bench.connect(), bench.connect(RAW, on_gap=close)
    for connection in (plain, raw):
        bench.subscribe(connection, "a", All())
    bench.loop.run()
    bench.publish("one")
    bench.loop.run()
    bench.broker.lose("a")
    bench.publish("two")
    bench.loop.run()
    assert [message for _, message in plain.told()] == ["one", "gap", "two"]
    assert raw.stream.read(1000).endswith(b"one")
    assert len(gaps) == 1 and gaps[0].after is not None
    assert set(bench.node._hub.feeds["a"].subscriptions) == set(
        bench.node._hub.of(plain.sink).values()
    )
