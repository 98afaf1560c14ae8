"""The use cases, and what is left of them when something fails half-way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from notifier.errors import (
    AlreadySubscribed,
    BrokerUnavailable,
    IdempotencyConflict,
    NotifierError,
    NotSubscribed,
    TooManySubscriptions,
)
from notifier.wire.resume import All, Latest
from tests.nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


def refusal(task: Any) -> type[NotifierError]:
    return type(task.exception())


def test_answer_to_a_producer_says_where_it_stands_and_who_listens(bench: Bench) -> None:
    bench.subscribe(bench.connect(), "a", Latest())
    bench.loop.run()
    first = bench.publish("one", key="k")
    assert (first.position.offset, first.subscribers, first.repeated) == (1, 1, False)
    again = bench.publish("one", key="k")
    assert (again.id, again.position, again.repeated) == (first.id, first.position, True)
    with pytest.raises(IdempotencyConflict):
        bench.publish("two", key="k")
    assert bench.publish("two", "now:x").position is None


def test_start_is_announced_once_before_anything_is_delivered(bench: Bench) -> None:
    bench.publish("one")
    connection = bench.connect()
    task = bench.subscribe(connection, "a", All())
    bench.loop.run()
    assert task.done()
    (joined,) = connection.joined
    assert joined.position is not None and joined.position.offset == 0 and joined.gap is None
    assert connection.told() == [("a", "one")]


def test_second_subscription_to_a_channel_and_one_too_many_are_refused(bench: Bench) -> None:
    connection = bench.connect()
    first = bench.subscribe(connection, "a", Latest())
    second = bench.subscribe(connection, "a", Latest())
    bench.loop.run()
    assert first.exception() is None and refusal(second) is AlreadySubscribed
    bench.subscribe(connection, "b", Latest())
    third = bench.subscribe(connection, "c", Latest())
    bench.loop.run()
    assert refusal(third) is TooManySubscriptions
    assert set(bench.node._hub.feeds) == {"a", "b"}


def test_unsubscribing_forgets_the_channel_and_twice_is_refused(bench: Bench) -> None:
    connection = bench.connect()
    bench.subscribe(connection, "a", Latest())
    bench.loop.run()
    bench.node.unsubscribe(connection.sink, "a")
    assert bench.forgotten()
    with pytest.raises(NotSubscribed):
        bench.node.unsubscribe(connection.sink, "a")


def test_broker_that_is_away_leaves_no_half_subscription(bench: Bench) -> None:
    bench.publish("one")
    bench.broker.down = True
    connection = bench.connect()
    task = bench.subscribe(connection, "a", All())
    bench.loop.run()
    assert refusal(task) is BrokerUnavailable
    assert connection.joined == [] and bench.forgotten()


@pytest.mark.parametrize("steps", range(1, 12))
def test_client_that_leaves_while_we_ask_is_told_nothing_and_forgotten(
    bench: Bench, steps: int
) -> None:
    bench.publish("one")
    bench.broker.pauses = (3, 20)
    connection = bench.connect()
    task = bench.subscribe(connection, "a", All())
    for _ in range(steps):
        bench.loop.step()
    connection.sink.closed = True
    bench.node.connections.remove(connection)
    assert bench.forgotten() and connection.joined == []
    assert task.exception() is None
    assert bench.node.connections.deserted.is_set()
