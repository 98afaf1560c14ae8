"""The use cases, and what is left of them when something fails half-way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from notifier.config import NamespaceSettings, Settings
from notifier.errors import (
    AlreadySubscribed,
    BrokerUnavailable,
    Draining,
    IdempotencyConflict,
    NotifierError,
    NotSubscribed,
    TooManyConnections,
    TooManySubscriptions,
)
from notifier.node import Node
from notifier.notification import Gap, Notification, Position
from notifier.sink import Sink
from notifier.wire.resume import All, Latest, Since
from notifier.wire.websocket import NATIVE
from tests.account import RecordingBroker
from tests.fakestream import FakeStream
from tests.handloop import HandLoop
from tests.test_keepalive import FakePeer


class FakeConnection(FakePeer):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink  # type: ignore[assignment]

    def reconnect(self, after_ms: int) -> None: ...

    def dismiss(self) -> None: ...


class Bench:
    def __init__(self) -> None:
        self.loop = HandLoop()
        self.loop.start()
        settings = Settings(
            max_connections=2,
            max_subscriptions=2,
            namespaces={"now": NamespaceSettings(history_size=0)},
        )
        namespaces = settings.channel_namespaces()
        self.broker = RecordingBroker(
            namespaces,
            history_bytes=1 << 20,
            max_channels=10,
            idempotency_ttl=60.0,
            max_idempotency_keys=10,
            now_ms=lambda: 1000,
        )
        self.node = Node(settings, self.broker, namespaces, now_ms=lambda: 1000, clock=lambda: 0.0)
        self.announced: list[tuple[Position | None, Gap | None]] = []

    def connect(self) -> FakeConnection:
        connection = FakeConnection(self.node.sink(FakeStream(capacity=1000), NATIVE))
        self.node.connected(connection)
        return connection

    def subscribe(self, connection: FakeConnection, channel: str, since: Since) -> Any:
        return self.loop.create_task(
            self.node.subscribe(
                connection.sink,
                channel,
                since,
                announce=lambda position, gap: self.announced.append((position, gap)),
            )
        )

    def publish(self, message: str, channel: str = "a", **more: Any) -> Any:
        notification = Notification.parse({"message": message})
        return self.loop.complete(self.node.publish(notification, channel, producer="p", **more))

    def forgotten(self) -> bool:
        self.loop.run()
        backfill = self.node._backfill
        return not (self.node._hub.feeds or backfill._opened or backfill._warmed)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.run()
    bench.loop.stop()


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
    ((position, gap),) = bench.announced
    assert position is not None and position.offset == 0 and gap is None
    assert b'"one"' in connection.sink._stream.kernel  # type: ignore[attr-defined]


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
    task = bench.subscribe(bench.connect(), "a", All())
    bench.loop.run()
    assert refusal(task) is BrokerUnavailable
    assert bench.announced == [] and bench.forgotten()


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
    bench.node.disconnected(connection)
    assert bench.forgotten() and bench.announced == []
    assert task.exception() is None
    assert bench.node.deserted.is_set()


def test_room_is_limited_and_gone_when_the_node_leaves(bench: Bench) -> None:
    first = bench.connect()
    bench.node.check_room()
    bench.connect()
    with pytest.raises(TooManyConnections):
        bench.node.check_room()
    bench.node.disconnected(first)
    bench.node.check_room()
    assert bench.node.not_ready() is None
    bench.node.draining = True
    assert bench.node.not_ready() == "draining"
    with pytest.raises(Draining):
        bench.node.check_room()
