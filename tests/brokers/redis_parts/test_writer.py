from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.writer import BATCH, RETRY_SECONDS, Write, Writer
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable, NotifierError, TooManyChannels
from tests.handloop import HandLoop

AWAY = BrokerUnavailable("Redis is away.")
PATIENCE = 5.0


class FakeRedis:
    """``Commands`` and ``Registry`` in one: logs that are lists, in channels that must be entered.

    :ivar failures: for each round trip to come: fails as a whole, or (a set) the calls in it.
    """

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.entered: list[str] = []
        self.trips: list[list[str]] = []
        self.failures: deque[NotifierError | set[int] | None] = deque()
        self.refusals: deque[NotifierError | None] = deque()
        self.seconds = 0.0

    async def run(self, calls: Sequence[Call], *, wait_replicas: int = 0) -> list[Any]:
        self.trips.append([str(call.args[0]) for call in calls])
        failure = self.failures.popleft() if self.failures else None
        await asyncio.sleep(self.seconds)
        if isinstance(failure, NotifierError):
            raise failure
        return [
            AWAY if failure is not None and n in failure else self._carry_out(call)
            for n, call in enumerate(calls)
        ]

    def _carry_out(self, call: Call) -> list[bytes]:
        id, channel, registered = map(str, call.args)
        if id in self.stored:
            return [b"repeat", id.encode()]
        if not registered and not any(entry.startswith(channel) for entry in self.stored):
            return [b"unborn", b"epoch"]
        self.stored.append(id)
        return [b"new", id.encode()]

    async def enter(self, channel: str, epoch: str) -> None:
        await asyncio.sleep(0)
        refusal = self.refusals.popleft() if self.refusals else None
        if refusal is not None:
            raise refusal
        self.entered.append(channel)


class Bench:
    def __init__(self, loop: HandLoop, *, max_bytes: int = 10**6) -> None:
        self.loop = loop
        self.redis = FakeRedis()
        self.errands = Errands()
        self.writer = Writer(
            self.redis,  # type: ignore[arg-type]
            self.redis,  # type: ignore[arg-type]
            patience=PATIENCE,
            max_bytes=max_bytes,
            wait_replicas=0,
            errands=self.errands,
        )

    def put(self, id: str, *, size: int = 100, repeatable: bool = True) -> asyncio.Task[Any]:
        channel = id[0]

        def call(registered: str | None) -> Call:
            return Call("SCRIPT", (), (id, channel, registered or ""))

        write = Write(channel, call(None), size, remake=call, repeatable=repeatable)
        return self.loop.create_task(self.writer.put(write))

    def let_pass(self, seconds: float) -> None:
        for _ in range(round(seconds / RETRY_SECONDS)):
            self.loop.run()
            self.loop.advance(RETRY_SECONDS)
        self.loop.run()


@pytest.fixture
def bench(loop: HandLoop) -> Bench:
    return Bench(loop)


def test_what_is_put_in_one_turn_is_one_round_trip_and_keeps_its_order(bench: Bench) -> None:
    puts = [bench.put(f"a{n}") for n in range(20)]
    bench.loop.run()
    assert bench.redis.stored == [f"a{n}" for n in range(20)]
    assert [len(trip) for trip in bench.redis.trips] == [20, 20]
    assert [put.result() for put in puts] == [[b"new", f"a{n}".encode()] for n in range(20)]


def test_newborn_channel_is_registered_once_and_then_stored_in_order(bench: Bench) -> None:
    bench.redis.failures.extend([None, AWAY, None])
    for n in range(3):
        bench.put(f"a{n}")
        bench.put(f"b{n}")
    bench.let_pass(1.0)
    assert sorted(bench.redis.entered) == ["a", "b"]
    for channel in "ab":
        stored = [id for id in bench.redis.stored if id.startswith(channel)]
        assert stored == [f"{channel}{n}" for n in range(3)]


def test_order_is_kept_when_only_the_first_attempt_to_register_fails(bench: Bench) -> None:
    bench.redis.refusals.append(AWAY)
    for n in range(3):
        bench.put(f"a{n}")
    bench.let_pass(1.0)
    assert bench.redis.stored == ["a0", "a1", "a2"]


def test_order_is_kept_across_failures_of_whole_round_trips(bench: Bench) -> None:
    bench.redis.failures.extend([None, AWAY, AWAY, None])
    for n in range(BATCH + 10):
        bench.put(f"a{n}")
        if n % 100 == 0:
            bench.loop.run()
    bench.let_pass(2.0)
    assert bench.redis.stored == [f"a{n}" for n in range(BATCH + 10)]


def test_channel_that_is_one_too_many_is_refused_and_no_other(bench: Bench) -> None:
    bench.redis.refusals.append(TooManyChannels("full", limit=1))
    puts = [bench.put(id) for id in ("a1", "b1", "a2", "b2")]
    bench.loop.run()
    assert [type(put.exception()) for put in puts] == [
        TooManyChannels,
        type(None),
        TooManyChannels,
        type(None),
    ]
    assert bench.redis.stored == ["b1", "b2"]


def test_more_bytes_than_may_wait_are_refused_until_there_is_room(loop: HandLoop) -> None:
    bench = Bench(loop, max_bytes=250)
    first, second, third = (bench.put(f"a{n}") for n in range(3))
    loop.run()
    assert (first.exception(), second.exception()) == (None, None)
    with pytest.raises(BrokerUnavailable, match="max_unwritten_bytes"):
        third.result()
    alone = bench.put("a3", size=1000)
    loop.run()
    assert alone.result() == [b"new", b"a3"], "one is taken however large it is"
    bench.put("a4")
    loop.run()
    assert bench.redis.stored == ["a0", "a1", "a3", "a4"]


def test_room_is_given_back_whatever_became_of_a_write(loop: HandLoop) -> None:
    bench = Bench(loop, max_bytes=250)
    for _ in range(5):
        bench.redis.failures.extend([AWAY] * 100)
        failed, cancelled = bench.put("a1"), bench.put("a2")
        loop.run()
        cancelled.cancel()
        bench.let_pass(PATIENCE + 1)
        assert isinstance(failed.exception(), BrokerUnavailable)
        bench.redis.failures.clear()
        kept = [bench.put(f"a{n}") for n in (3, 4)]
        bench.let_pass(1.0)
        assert [put.exception() for put in kept] == [None, None]


def test_write_is_given_up_at_its_deadline_with_the_reason(bench: Bench) -> None:
    bench.redis.failures.extend([AWAY] * 1000)
    put = bench.put("a1")
    bench.let_pass(PATIENCE - 0.5)
    assert not put.done()
    bench.let_pass(1.0)
    assert put.exception() is AWAY
    bench.redis.failures.clear()
    again = bench.put("a2")
    bench.let_pass(0.1)
    assert again.result() == [b"new", b"a2"]


def test_long_queue_before_a_silent_redis_is_given_up_at_its_deadline_too(bench: Bench) -> None:
    bench.redis.seconds = PATIENCE
    bench.redis.failures.extend([AWAY] * 1000)
    puts = [bench.put(f"a{n}") for n in range(20 * BATCH)]
    bench.let_pass(2 * PATIENCE + 1)
    assert all(isinstance(put.exception(), BrokerUnavailable) for put in puts)
    assert len(bench.redis.trips) <= 2


def test_what_may_not_be_repeated_is_tried_once(bench: Bench) -> None:
    bench.redis.failures.append(AWAY)
    once = bench.put("a1", repeatable=False)
    more = bench.put("a2")
    bench.let_pass(1.0)
    assert once.exception() is AWAY
    assert more.result() == [b"new", b"a2"]
    assert sum("a1" in trip for trip in bench.redis.trips) == 1


def test_caller_that_leaves_disturbs_nobody(bench: Bench) -> None:
    bench.redis.failures.extend([None, AWAY])
    puts = [bench.put(f"a{n}") for n in range(5)]
    bench.loop.step()
    puts[1].cancel()
    bench.loop.run()
    puts[3].cancel()
    bench.let_pass(1.0)
    assert [put.cancelled() for put in puts] == [False, True, False, True, False]
    stored = [id for id in bench.redis.stored if id not in ("a1", "a3")]
    assert stored == ["a0", "a2", "a4"]


@pytest.mark.parametrize("passed", [0.0, RETRY_SECONDS, 1.0])
def test_closing_leaves_nobody_waiting(bench: Bench, passed: float) -> None:
    bench.redis.seconds = 0.3
    bench.redis.failures.extend([AWAY] * 100)
    puts = [bench.put(f"a{n}") for n in range(BATCH + 5)]
    bench.loop.run()
    bench.let_pass(passed)
    closing = bench.loop.create_task(bench.errands.close())
    bench.loop.run()
    assert closing.done()
    assert all(isinstance(put.exception(), BrokerUnavailable) for put in puts)
