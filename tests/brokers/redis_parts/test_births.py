from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifier.brokers.redis.births import PAGE, RETRY_SECONDS, Births
from notifier.brokers.redis.roundtrips import Call
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from tests.handloop import HandLoop


class FakeStream:
    """The one command that is needed, on a list; every attempt in ``failures`` fails."""

    def __init__(self) -> None:
        self.births: list[tuple[str, str]] = []
        self.failures = 0

    async def one(self, call: Call) -> Any:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("Redis is away.")
        _, start, _, _, count = call.args
        entries = [
            (b"%d-0" % n, {b"c": channel.encode(), b"e": epoch.encode()})
            for n, (channel, epoch) in enumerate(self.births, start=1)
        ]
        if call.what == "XREVRANGE":
            return entries[::-1][: int(count)]
        first = int(str(start)[1:].partition("-")[0])
        return entries[first : first + int(count)]


class Bench:
    def __init__(self, loop: HandLoop) -> None:
        self.loop = loop
        self.stream = FakeStream()
        self.told: list[tuple[str, str]] = []
        self.births = Births(
            self.stream,  # type: ignore[arg-type]
            "births",
            Errands(),
            lambda channel, epoch: self.told.append((channel, epoch)),
        )


@pytest.fixture
def bench(loop: HandLoop) -> Bench:
    return Bench(loop)


def test_channels_from_before_the_beginning_are_no_news(bench: Bench) -> None:
    bench.stream.births = [("old", "e")]
    bench.births.hears()
    bench.loop.run()
    bench.stream.births.append(("new", "e"))
    bench.births.rung(b"", b"b")
    bench.loop.run()
    assert bench.told == [("new", "e")]


def test_first_birth_of_all_is_told(bench: Bench) -> None:
    bench.births.hears()
    bench.loop.run()
    bench.stream.births.append(("a", "e"))
    bench.births.rung(b"", b"b")
    bench.loop.run()
    assert bench.told == [("a", "e")]


def test_births_while_it_did_not_hear_are_told_once_and_in_order(bench: Bench) -> None:
    bench.births.hears()
    bench.loop.run()
    bench.stream.births = [(f"c{n}", "e") for n in range(2 * PAGE + 1)]
    bench.births.hears()
    bench.births.rung(b"", b"b")
    bench.loop.run(limit=10_000)
    assert bench.told == bench.stream.births


def test_birth_that_rings_while_it_reads_is_told(bench: Bench) -> None:
    bench.births.hears()
    bench.loop.run()
    bench.births.look()
    bench.loop.step()
    bench.loop.step()
    bench.stream.births.append(("a", "e"))
    bench.births.rung(b"", b"b")
    bench.loop.run()
    assert bench.told == [("a", "e")]


def test_birth_is_told_though_reading_failed_and_nothing_rings_again(bench: Bench) -> None:
    bench.births.hears()
    bench.loop.run()
    bench.stream.births.append(("a", "e"))
    bench.stream.failures = 2
    bench.births.rung(b"", b"b")
    for _ in range(3):
        bench.loop.run()
        bench.loop.advance(RETRY_SECONDS)
    bench.loop.run()
    assert bench.told == [("a", "e")]
