"""What the others are told of a node, and what it does when they ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import notifier
from notifier.attendance import Attendance
from notifier.brokers.fleet import Disconnect, Unsubscribe
from notifier.config import NamespaceSettings
from notifier.errors import (
    BrokerUnavailable,
    ConnectionEnded,
    NodesSilent,
    NoSuchConnection,
    NoSuchSubscription,
    SubscriptionEnded,
)
from notifier.wire.resume import Latest
from tests.nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(presence=True, namespaces={"dark": NamespaceSettings(presence=False)})
    yield bench
    bench.end()


def test_facts_are_those_of_now(bench: Bench) -> None:
    bench.loop.complete(bench.node.open(8888))
    bench.subscribe(bench.connect(), "a", Latest())
    bench.loop.run()
    facts = bench.node._crew.facts()
    assert facts.id == bench.node.id and facts.host
    assert (facts.port, facts.version, facts.started_ms) == (8888, notifier.__version__, 1000)
    assert (facts.connections, facts.subscriptions, facts.channels) == (1, 1, 1)
    assert facts.reason is None
    bench.node.connections.draining = True
    assert bench.node._crew.facts().reason == "draining"


def test_fleet_is_told_when_somebody_joins_and_when_the_last_one_leaves(bench: Bench) -> None:
    crew, attended = bench.node._crew, bench.fleet.attended
    connection = bench.connect(name="one")
    for channel in ("a", "dark:a"):
        bench.subscribe(connection, channel, Latest())
        bench.loop.run()
        assert attended[-1] == channel
        attendance = crew.attendance(channel)
        assert attendance is not None and attendance.count == 1
        assert (attendance.members is None) == (channel == "dark:a")
        attended.clear()
        bench.node.unsubscribe(connection.sink, channel)
        assert attended == [channel] and crew.attendance(channel) is None


def test_watcher_hears_of_who_joins_elsewhere(bench: Bench) -> None:
    crew = bench.node._crew
    bench.subscribe(bench.connect(), "a", Latest())
    bench.loop.run()
    crew.attended("a", "there", Attendance(2))
    assert bench.node._presence.of("a").count == 3
    crew.gathered("a", {})
    assert bench.node._presence.of("a").count == 1
    crew.attended("a", "there", Attendance(2))
    crew.departed("there")
    assert bench.node._presence.of("a").count == 1


def test_connection_of_this_node_is_ended_without_asking_the_others(bench: Bench) -> None:
    bench.fleet.down = True
    connection = bench.connect(name="one")
    bench.loop.complete(bench.node.administration.disconnect("one"))
    assert [type(refusal) for refusal in connection.ended] == [ConnectionEnded]


def test_subscription_is_ended_and_its_client_told(bench: Bench) -> None:
    connection = bench.connect(name="one")
    bench.subscribe(connection, "a", Latest())
    bench.follow(connection, "b:*")
    bench.loop.run()
    bench.publish("born", "b:1")
    bench.loop.run()
    bench.loop.complete(bench.node.administration.end_subscription("one", "a"))
    with pytest.raises(NoSuchSubscription) as refusal:
        bench.loop.complete(bench.node.administration.end_subscription("one", "b:1"))
    assert (refusal.value.connection, refusal.value.channel) == ("one", "b:1")
    bench.loop.complete(bench.node.administration.end_subscription("one", "b:*"))
    assert [(name, type(why)) for name, why in connection.deprived] == [
        ("a", SubscriptionEnded),
        ("b:*", SubscriptionEnded),
    ]
    assert bench.forgotten()


def test_what_is_not_here_is_asked_of_the_others(bench: Bench) -> None:
    bench.fleet.connections = {"far"}
    bench.loop.complete(bench.node.administration.disconnect("far"))
    bench.loop.complete(bench.node.administration.end_subscription("far", "a"))
    assert bench.fleet.orders == [Disconnect("far"), Unsubscribe("far", "a")]
    with pytest.raises(NoSuchConnection):
        bench.loop.complete(bench.node.administration.disconnect("nobody"))
    with pytest.raises(NoSuchSubscription):
        bench.loop.complete(bench.node.administration.end_subscription("nobody", "a"))


def test_who_can_not_be_asked_is_no_reason_to_say_that_there_is_none(bench: Bench) -> None:
    bench.fleet.silent = True
    with pytest.raises(NodesSilent):
        bench.loop.complete(bench.node.administration.disconnect("x"))
    bench.fleet.down = True
    with pytest.raises(BrokerUnavailable):
        bench.loop.complete(bench.node.administration.end_subscription("x", "a"))
