from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifier.brokers.redis.entry import encode
from notifier.brokers.redis.ephemeral import Ephemeral
from notifier.brokers.redis.names import Names
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import BrokerUnavailable
from notifier.notification import Draft
from tests.brokers.contract import Listener, Midwife
from tests.brokers.redis_parts.fakeredis import Line
from tests.handloop import HandLoop
from tests.redisservers.server import RedisServer

NAMESPACES = Namespaces(Namespace(), {"live": Namespace(history_size=0)})
NAMES = Names("ephemeral", NAMESPACES)
PATTERNS = [Pattern.parse(text) for text in ("live:*", "*", "live:a*")]


class Bench:
    """A node that hears ephemeral channels, by a line that is as slow as the test wants it."""

    def __init__(self, client: redis.Redis, loop: HandLoop) -> None:
        self.client = client
        self.loop = loop
        self.line = Line(client, loop)
        self.ephemeral = Ephemeral(self.line, NAMES, NAMESPACES, timeout=5.0)  # type: ignore[arg-type]
        self.midwife = Midwife()
        self.ephemeral.watch(self.midwife)
        self.published = 0

    def publish(self, channel: str = "live:a") -> str:
        self.published += 1
        draft = Draft(channel, f"n{self.published}", 1, b"")
        self.client.publish(NAMES.live_bell(channel), encode(draft))
        self.line.take_in()
        return draft.id

    def subscribe(self, receiver: Listener, channel: str = "live:a") -> asyncio.Task[None]:
        task = self.loop.create_task(self.ephemeral.subscribe(channel, receiver))
        self._turn()
        return task

    def follow(self, pattern: Pattern) -> asyncio.Task[None]:
        task = self.loop.create_task(self.ephemeral.follow(pattern))
        self._turn()
        return task

    def unfollow(self, pattern: Pattern) -> None:
        self.ephemeral.unfollow(pattern)
        self._turn()

    def arrive(self, count: int = 10_000) -> None:
        for _ in range(min(count, len(self.line.coming))):
            self.line.arrive()
            self._turn()

    def _turn(self) -> None:
        self.loop.run()
        self.line.take_in()


@pytest.fixture
def new_bench(redis_server: RedisServer) -> Iterator[Callable[[], Bench]]:
    loop = HandLoop()
    loop.start()
    benches: list[Bench] = []

    def make() -> Bench:
        benches.append(Bench(redis.Redis(port=redis_server.port, protocol=2), loop))
        return benches[-1]

    yield make
    for bench in benches:
        bench.line.close()
        bench.client.close()
    loop.stop()


@pytest.fixture
def bench(new_bench: Callable[[], Bench]) -> Bench:
    return new_bench()


def test_who_waits_to_be_heard_is_not_put_off_by_a_publication_of_a_pattern(bench: Bench) -> None:
    bench.follow(PATTERNS[0])
    bench.arrive()
    receiver = bench.midwife.answers["live:a"] = Listener()
    bench.publish()
    joining = bench.subscribe(receiver)
    bench.arrive()
    assert joining.done()
    assert joining.exception() is None


def test_of_two_who_wait_for_a_channel_one_may_leave(bench: Bench) -> None:
    first, second = Listener(), Listener()
    leaving, staying = bench.subscribe(first), bench.subscribe(second)
    leaving.cancel()
    bench.loop.run()
    bench.arrive()
    assert staying.done()
    published = bench.publish()
    bench.arrive()
    assert (first.ids, second.ids) == ([], [published])


def test_receiver_may_leave_while_another_comes(bench: Bench) -> None:
    first, second = Listener(), Listener()
    bench.subscribe(first)
    bench.arrive()
    bench.line.lose()
    coming = bench.subscribe(second)
    bench.ephemeral.unsubscribe("live:a", first)
    bench.line.restore()
    bench.line.take_in()
    bench.arrive()
    assert coming.done()
    published = bench.publish()
    bench.arrive()
    assert second.ids == [published]


def test_who_is_not_heard_in_time_is_told_so_and_nothing_is_left(bench: Bench) -> None:
    bench.line.lose()
    joining = bench.subscribe(Listener())
    following = bench.follow(PATTERNS[0])
    bench.loop.advance(6.0)
    bench.loop.run()
    for task in (joining, following):
        assert isinstance(task.exception(), BrokerUnavailable)
    bench.line.restore()
    bench.line.take_in()
    assert not bench.line.coming


def test_default_namespace_and_named_ones_are_followed_as_the_pattern_asks(bench: Bench) -> None:
    bench.follow(Pattern.parse("other:*"))
    bench.publish("live:a")
    bench.arrive()
    assert bench.midwife.births == []
    bench.follow(Pattern.parse("l*"))
    bench.arrive()
    bench.publish("live:a")
    bench.arrive()
    assert bench.midwife.births == [("live:a", None)]


class Transitions(RuleBasedStateMachine):
    """A channel with a receiver, while patterns come and go: each publication is told once."""

    new_bench: Callable[[], Bench]

    @initialize()
    def open(self) -> None:
        self.bench = type(self).new_bench()
        self.receiver = Listener()
        self.bench.midwife.answers["live:a"] = self.receiver
        self.bench.subscribe(self.receiver)
        self.bench.arrive()
        self.due: list[str] = []
        self.followed: list[Pattern] = []

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.due.append(self.bench.publish())

    @rule(pattern=st.sampled_from(PATTERNS))
    def follow(self, pattern: Pattern) -> None:
        self.bench.follow(pattern)
        self.followed.append(pattern)

    @precondition(lambda self: bool(self.followed) and self.even)
    @rule(data=st.data())
    def unfollow(self, data: st.DataObject) -> None:
        pattern = data.draw(st.sampled_from(self.followed))
        self.followed.remove(pattern)
        self.bench.unfollow(pattern)

    @property
    def even(self) -> bool:
        """Not between the two messages of one publication: they come in one write."""
        coming = list(self.bench.line.coming)
        return not coming or coming[0].message is None or coming[0].name == coming[0].bell

    @rule(count=st.integers(1, 6))
    def arrive(self, count: int) -> None:
        self.bench.arrive(count)

    @rule()
    def check(self) -> None:
        self.bench.arrive()
        assert self.receiver.ids == self.due

    def teardown(self) -> None:
        if hasattr(self, "due"):
            self.check()


def test_each_publication_is_told_once_while_patterns_come_and_go(
    new_bench: Callable[[], Bench],
) -> None:
    Transitions.new_bench = staticmethod(new_bench)
    run_state_machine_as_test(Transitions, settings=settings(max_examples=50))
