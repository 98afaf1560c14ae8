"""Patterns: channels that are there, channels that come to life, and what overlaps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notifier.errors import (
    AlreadySubscribed,
    BrokerUnavailable,
    NotSubscribed,
    TooManySubscriptions,
)
from notifier.listener import Joined, Listener
from notifier.notification import Position
from notifier.wire.resume import All, Starts, starts
from tests.nodebench import Bench, FakeConnection


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(max_subscriptions=4)
    yield bench
    bench.end()


def follow(bench: Bench, pattern: str, connection: FakeConnection | None = None) -> FakeConnection:
    connection = connection or bench.connect()
    task = bench.follow(connection, pattern)
    bench.loop.run()
    task.result()
    return connection


def test_channels_there_are_joined_and_told_with_their_pattern(bench: Bench) -> None:
    for channel in ("b:1", "b:2", "c:1"):
        bench.publish("old", channel)
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    bench.loop.run()
    assert [joined.channel for joined in task.result()] == ["b:1", "b:2"]
    assert connection.joined == task.result()
    assert {joined.pattern for joined in connection.joined} == {"b:*"}
    bench.publish("new", "b:2")
    bench.publish("new", "c:1")
    bench.loop.run()
    assert sorted(connection.told()) == [("b:1", "old"), ("b:2", "new"), ("b:2", "old")]


def test_newborn_channel_is_joined_from_its_first_publication(bench: Bench) -> None:
    connection = follow(bench, "b:*")
    bench.publish("first", "b:1")
    bench.publish("second", "b:1")  # in the same turn
    bench.publish("first", "c:1")
    bench.loop.run()
    (joined,) = connection.joined
    assert (joined.channel, joined.pattern) == ("b:1", "b:*")
    assert joined.position is not None and joined.position.offset == 0
    assert connection.told() == [("b:1", "first"), ("b:1", "second")]


def test_newborn_channel_somebody_waits_on_by_name_reaches_both(bench: Bench) -> None:
    by_pattern = follow(bench, "b:*")
    by_name = bench.connect()
    bench.subscribe(by_name, "b:1", All())
    bench.loop.run()
    bench.publish("first", "b:1")
    bench.loop.run()
    assert by_pattern.told() == by_name.told() == [("b:1", "first")]


def test_channel_that_is_born_while_its_listener_is_being_opened_reaches_both(
    bench: Bench,
) -> None:
    by_pattern = follow(bench, "b:*")
    by_name = bench.connect()
    bench.subscribe(by_name, "b:1", All())
    bench.publish("first", "b:1")  # before the subscription had a turn
    bench.publish("second", "b:1")
    bench.loop.run()
    assert by_pattern.told() == [("b:1", "first"), ("b:1", "second")]
    assert by_name.told() == [("b:1", "first"), ("b:1", "second")]


def test_channel_that_is_born_while_the_pattern_is_being_joined_comes_once(bench: Bench) -> None:
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    bench.loop.step()
    bench.publish("first", "b:1")
    bench.loop.run()
    task.result()
    assert [joined.channel for joined in connection.joined] == ["b:1"]
    assert connection.told() == [("b:1", "first")]


def test_overlapping_patterns_are_one_subscription_and_one_outlives_the_other(
    bench: Bench,
) -> None:
    connection = follow(bench, "b:*")
    bench.publish("one", "b:1")
    follow(bench, "*:1", connection)
    bench.publish("two", "b:1")
    bench.loop.run()
    assert connection.told() == [("b:1", "one"), ("b:1", "two")]
    bench.node.unsubscribe(connection.sink, "b:*")
    bench.publish("three", "b:1")
    bench.loop.run()
    assert connection.told() == [("b:1", "three")]
    bench.node.unsubscribe(connection.sink, "*:1")
    bench.publish("four", "b:1")
    bench.publish("five", "d:1")
    bench.loop.run()
    assert connection.told() == []


def test_channel_asked_for_by_name_stays_when_a_pattern_ends(bench: Bench) -> None:
    connection = bench.connect()
    bench.subscribe(connection, "b:1", All())
    bench.loop.run()
    follow(bench, "b:*", connection)
    bench.node.unsubscribe(connection.sink, "b:*")
    bench.publish("one", "b:1")
    bench.loop.run()
    assert connection.told() == [("b:1", "one")]


def test_what_a_pattern_brought_is_not_subscribed_or_left_by_name(bench: Bench) -> None:
    connection = follow(bench, "b:*")
    bench.publish("one", "b:1")
    task = bench.subscribe(connection, "b:1", All())
    bench.loop.run()
    assert isinstance(task.exception(), AlreadySubscribed)
    with pytest.raises(NotSubscribed, match=r"b:\*"):
        bench.node.unsubscribe(connection.sink, "b:1")
    with pytest.raises(NotSubscribed):
        bench.node.unsubscribe(connection.sink, "c:*")
    again = bench.follow(connection, "b:*")
    bench.loop.run()
    assert isinstance(again.exception(), AlreadySubscribed)


def test_pattern_with_too_many_channels_is_refused_and_joins_none(bench: Bench) -> None:
    for number in range(4):
        bench.publish("one", f"b:{number}")
    connection = bench.connect()
    task = bench.follow(connection, "b:*")
    bench.loop.run()
    assert isinstance(task.exception(), TooManySubscriptions)
    assert connection.joined == [] and bench.forgotten()
    bench.publish("one", "b:new")
    assert bench.forgotten()


def test_newborn_channel_over_the_limit_is_refused_out_loud(bench: Bench) -> None:
    connection = follow(bench, "b:*")
    for number in range(4):
        bench.publish("one", f"b:{number}")
    bench.loop.run()
    assert [joined.channel for joined in connection.joined] == ["b:0", "b:1", "b:2"]
    assert connection.refused == [("b:3", TooManySubscriptions)]


def test_ephemeral_channels_are_joined_before_their_first_publication(bench: Bench) -> None:
    connection = follow(bench, "now:*")
    bench.publish("one", "now:x")
    bench.publish("two", "now:x")
    bench.loop.run()
    assert connection.told() == [("now:x", "one"), ("now:x", "two")]
    assert connection.joined[0].position is None


def test_ephemeral_channels_others_listen_to_are_joined_as_well(bench: Bench) -> None:
    early = follow(bench, "now:*")
    by_name = bench.connect()
    bench.subscribe(by_name, "now:x", All())
    bench.loop.run()
    bench.node.connections.remove(early)
    bench.publish("one", "now:x")
    bench.loop.run()
    late = follow(bench, "now:*")
    bench.publish("two", "now:x")
    bench.loop.run()
    assert by_name.told() == [("now:x", "one"), ("now:x", "two")]
    assert [joined.channel for joined in early.joined] == ["now:x"]
    assert late.told() == [("now:x", "two")]


def test_resume_token_goes_on_and_replays_what_it_does_not_name(bench: Bench) -> None:
    first = bench.publish("one", "b:1")
    bench.publish("two", "b:1")
    bench.publish("born", "b:2")
    token = f"b:1={first.position};t=1"
    connection = bench.connect()
    task = bench.follow(connection, "b:*", starts(token, ["b:*"], now_ms=1000))
    bench.loop.run()
    task.result()
    assert sorted(connection.told()) == [("b:1", "two"), ("b:2", "born")]


@pytest.mark.parametrize("steps", range(1, 12))
def test_client_that_leaves_while_its_pattern_is_joined_is_forgotten(
    bench: Bench, steps: int
) -> None:
    for number in range(3):
        bench.publish("one", f"b:{number}")
    bench.broker.pauses = (2, 2)
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    for _ in range(steps):
        bench.loop.step()
    connection.sink.closed = True
    bench.node.connections.remove(connection)
    assert bench.forgotten()
    assert task.exception() is None
    bench.publish("one", "b:new")
    assert bench.forgotten()


def test_broker_that_is_away_leaves_no_half_pattern(bench: Bench) -> None:
    bench.publish("one", "b:1")
    bench.broker.down = True
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    bench.loop.run()
    assert isinstance(task.exception(), BrokerUnavailable)
    bench.publish("two", "b:2")
    assert bench.forgotten() and connection.joined == []


def test_pattern_that_comes_back_after_the_log_was_lost_is_told_the_gap(bench: Bench) -> None:
    old = bench.publish("old", "b:1").position
    bench.broker.lose("b:1")
    connection = bench.connect()
    starting = starts(f"b:1={old};t=1", ["b:*"], now_ms=1000)
    task = bench.follow(connection, "b:*", starting)
    bench.loop.run()
    (joined,) = task.result()
    assert joined.gap is not None and joined.gap.after == old
    bench.publish("new", "b:1")
    bench.loop.run()
    assert connection.told() == [("b:1", "new")]


def test_channel_born_anew_while_its_pattern_is_joined_has_a_gap_before_it(bench: Bench) -> None:
    connection = bench.connect()
    bench.follow(connection, "b:*", starts("b:1=lost:7;t=1", ["b:*"], now_ms=1000))
    bench.loop.step()
    first = bench.publish("new", "b:1").position
    bench.loop.run()
    (joined,) = connection.joined
    assert joined.gap is not None
    assert (str(joined.gap.after), joined.gap.before) == ("lost:7", first)
    assert connection.told() == [("b:1", "new")]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_birth_that_is_heard_of_late_takes_nobody_back_to_the_beginning(
    bench: Bench, steps: int
) -> None:
    for message in ("one", "two", "three"):
        place = bench.publish(message, "b:1").position
    connection = bench.connect()
    token = f"b:1={place.epoch}:2;t=1"
    bench.follow(connection, "b:*", starts(token, ["b:*"], now_ms=1000))
    for _ in range(steps):
        bench.loop.step()
    # A broker of many nodes tells of it when this one hears again.
    bench.node._subscriptions.born("b:1", Position(place.epoch, 0))
    bench.loop.run()
    (joined,) = connection.joined
    assert (joined.position, joined.gap) == (Position(place.epoch, 2), None)
    assert connection.told() == [("b:1", "three")]


def test_channel_unsubscribed_by_name_goes_on_by_the_pattern(bench: Bench) -> None:
    connection = bench.connect()
    bench.subscribe(connection, "b:1", All())
    bench.loop.run()
    follow(bench, "b:*", connection)
    bench.node.unsubscribe(connection.sink, "b:1")
    bench.publish("one", "b:1")
    bench.loop.run()
    assert connection.told() == [("b:1", "one")]
    bench.node.unsubscribe(connection.sink, "b:*")
    assert bench.forgotten()


def test_channel_whose_join_by_name_failed_comes_by_the_pattern(bench: Bench) -> None:
    bench.publish("old", "b:1")
    bench.broker.pauses = (4, 0)
    bench.broker.down = True
    connection = bench.connect()
    by_name = bench.subscribe(connection, "b:1", All())
    bench.loop.step()
    by_pattern = bench.follow(connection, "b:*")
    while not by_name.done():
        bench.loop.step()
    bench.broker.down = False
    bench.loop.run()
    assert isinstance(by_name.exception(), BrokerUnavailable)
    by_pattern.result()
    assert connection.told() == [("b:1", "old")]
    assert [joined.pattern for joined in connection.joined] == ["b:*"]


def test_channels_born_while_the_pattern_is_joined_do_not_break_the_limit(bench: Bench) -> None:
    for number in range(2):
        bench.publish("one", f"b:{number}")
    bench.broker.pauses = (3, 3)
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    for number in range(2, 6):
        bench.loop.step()
        bench.publish("one", f"b:{number}")
        assert len(bench.node._hub.of(connection.sink)) <= 3
    bench.loop.run()
    assert isinstance(task.exception(), TooManySubscriptions)
    assert bench.forgotten()


def test_pattern_that_is_ended_while_it_is_joined_joins_no_more(bench: Bench) -> None:
    for number in range(3):
        bench.publish("one", f"b:{number}")
    bench.broker.pauses = (2, 2)
    connection = bench.connect()
    task = bench.follow(connection, "b:*", Starts(All()))
    for _ in range(8):
        bench.loop.step()
    bench.node.unsubscribe(connection.sink, "b:*")
    bench.loop.run()
    task.result()
    assert len(connection.joined) < 3
    assert bench.forgotten()


def test_pattern_that_is_ended_before_a_newborn_has_begun_is_told_nothing_of_it(
    bench: Bench,
) -> None:
    connection = follow(bench, "b:*")
    bench.publish("one", "b:1")
    bench.node.unsubscribe(connection.sink, "b:*")
    bench.loop.run()
    assert connection.joined == [] and connection.told() == []
    assert bench.forgotten()


def test_newborn_channel_its_listener_refuses_is_let_go_of(bench: Bench) -> None:
    connection = bench.connect()

    def refuse(joined: Joined) -> None:
        raise TooManySubscriptions("no more", limit=1)

    connection.listener = Listener(refuse, connection.listener.refused)
    follow(bench, "b:*", connection)
    bench.publish("one", "b:1")
    bench.loop.run()
    assert connection.refused == [("b:1", TooManySubscriptions)]
    assert connection.told() == [] and bench.forgotten()
