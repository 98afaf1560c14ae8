"""What ends while it joins: at each await of a join its client may leave, or its pattern end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notifier.brokers.fleet import Unsubscribe
from notifier.errors import BrokerUnavailable
from notifier.notification import Position
from notifier.wire.resume import All, Latest, Starts, starts
from tests.nodebench import Bench, FakeConnection


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(max_subscriptions=4, presence=True)
    yield bench
    bench.end()


def follow(bench: Bench, pattern: str, connection: FakeConnection | None = None) -> FakeConnection:
    connection = connection or bench.connect()
    task = bench.follow(connection, pattern)
    bench.loop.run()
    task.result()
    return connection


def leave(bench: Bench, connection: FakeConnection) -> None:
    connection.sink.closed = True
    bench.node.connections.remove(connection)


def nothing_left(bench: Bench) -> bool:
    """Of a client that was the only one."""
    patterns = bench.node._subscriptions._patterns
    return bench.forgotten() and not patterns.count and not bench.node._presence._rosters


def test_pattern_asked_for_by_a_client_that_has_left_is_not_followed(bench: Bench) -> None:
    """As where the URL names several, and it leaves while the first is joined."""
    connection = bench.connect()
    leave(bench, connection)
    task = bench.follow(connection, "b:*")
    bench.loop.run()
    assert task.result() is None
    bench.publish("one", "b:1")  # would be introduced as somebody who is not there
    assert nothing_left(bench) and connection.joined == []


def test_channel_asked_for_by_a_client_that_has_left_is_not_opened(bench: Bench) -> None:
    connection = bench.connect()
    leave(bench, connection)
    task = bench.subscribe(connection, "b:1", All())
    bench.loop.step()
    assert bench.node._hub.feeds == {}
    bench.loop.run()
    assert task.result() is None and bench.fleet.attended == []


@pytest.mark.parametrize("steps", range(8))
def test_pattern_that_ends_while_a_channel_joins_by_it_joins_nothing(
    bench: Bench, steps: int
) -> None:
    """An ephemeral channel joins in a task of its own, when somebody else listens to it."""
    connection = follow(bench, "now:*")
    bench.subscribe(bench.connect(), "now:x", Latest())
    for _ in range(steps):
        bench.loop.step()
    bench.node.unsubscribe(connection.sink, "now:*")
    told = list(connection.joined)
    bench.loop.run()
    bench.publish("one", "now:x")
    bench.loop.run()
    assert connection.joined == told, "joined after its end"
    assert connection.told() == [] and not bench.node._hub.of(connection.sink)


@pytest.mark.parametrize("steps", range(5))
def test_birth_heard_of_late_joins_nobody_whose_pattern_has_ended(bench: Bench, steps: int) -> None:
    place = bench.publish("one", "b:1").position
    connection = bench.connect()
    token = f"b:1={place.epoch}:1;t=1"
    bench.follow(connection, "b:*", starts(token, ["b:*"], now_ms=1000))
    bench.loop.run()
    bench.node._subscriptions._detach(bench.node._hub.of(connection.sink)["b:1"])
    bench.node._subscriptions.born("b:1", Position(place.epoch, 0))
    for _ in range(steps):
        bench.loop.step()
    bench.node.unsubscribe(connection.sink, "b:*")
    told = list(connection.joined)
    assert nothing_left(bench) and connection.joined == told


def test_channel_passed_over_for_a_pattern_that_ends_comes_by_the_other(bench: Bench) -> None:
    connection = follow(bench, "now:*")
    follow(bench, "*:x", connection)
    bench.subscribe(bench.connect(), "now:x", Latest())
    bench.loop.step()  # now:* is to bring it
    bench.node.unsubscribe(connection.sink, "now:*")
    bench.loop.run()
    bench.publish("one", "now:x")
    bench.loop.run()
    assert connection.told() == [("now:x", "one")]


@pytest.mark.parametrize("steps", range(4))
def test_channel_refused_after_its_pattern_has_ended_is_not_spoken_of(
    bench: Bench, steps: int
) -> None:
    connection = bench.connect()
    bench.publish("old", "b:1")
    bench.broker.pauses = (4, 0)
    bench.broker.down = True
    by_name = bench.subscribe(connection, "b:1", All())
    bench.loop.step()
    bench.follow(connection, "b:*")
    while not by_name.done():
        bench.loop.step()
    # It failed by its name, and the pattern tries.
    for _ in range(steps):
        bench.loop.step()
    bench.node.unsubscribe(connection.sink, "b:*")
    assert connection.refused == []
    assert nothing_left(bench) and connection.refused == []


def test_channel_whose_pattern_ended_in_favour_of_another_is_not_lost_when_it_fails(
    bench: Bench,
) -> None:
    bench.publish("old", "b:1")
    connection = bench.connect()
    bench.broker.pauses = (6, 0)
    bench.broker.down = True
    first = bench.follow(connection, "b:*", Starts(All()))
    while "b:1" not in bench.node._hub.of(connection.sink):
        bench.loop.step()
    bench.follow(connection, "*:1")
    for _ in range(3):
        bench.loop.step()
    bench.node.unsubscribe(connection.sink, "b:*")
    while not first.done():
        bench.loop.step()
    bench.broker.down = False
    bench.loop.run()
    assert connection.told() == [("b:1", "old")]
    assert [joined.pattern for joined in connection.joined] == ["*:1"]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("name", ["b:1", "b:*"])
def test_subscription_that_is_ended_before_it_began_is_not_said_to_be_joined_or_refused(
    bench: Bench, name: str, down: bool
) -> None:
    bench.publish("old", "b:1")
    bench.broker.pauses = (4, 0)
    bench.broker.down = down
    connection = bench.connect()
    join = bench.follow if name.endswith("*") else bench.subscribe
    task = join(connection, name, Starts(All()) if name.endswith("*") else All())  # type: ignore[arg-type]
    bench.loop.step()
    bench.loop.step()
    assert bench.node.residents.carry_out(Unsubscribe(connection.id, name))
    bench.loop.run()
    assert task.result() is None and connection.joined == []
    assert [name for name, _ in connection.deprived] == [name]
    assert nothing_left(bench)


def test_newborn_channel_of_a_client_that_is_leaving_introduces_nobody(bench: Bench) -> None:
    connection = follow(bench, "b:*")
    bench.publish("one", "b:1")
    connection.sink.abort()
    bench.loop.run()
    assert connection.joined == [] and not bench.node._presence._rosters


def test_failure_of_a_join_by_name_is_told(bench: Bench) -> None:
    """Else the tests above might pass because nothing is."""
    bench.publish("old", "b:1")
    bench.broker.down = True
    task = bench.subscribe(bench.connect(), "b:1", All())
    bench.loop.run()
    assert isinstance(task.exception(), BrokerUnavailable)
