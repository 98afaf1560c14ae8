"""Leaving without a storm, on a clock turned by hand."""

from __future__ import annotations

import asyncio

import pytest

from notifier.connections import Connection, Connections
from notifier.drain import Drain, slots
from notifier.sink import Sink
from tests.handloop import HandLoop
from tests.test_keepalive import FakePeer


class FakeSink:
    aborted = False

    def abort(self, reason: str) -> None:
        self.aborted = True


class FakeConnection(FakePeer):
    def __init__(self, loop: HandLoop) -> None:
        super().__init__()
        self._loop = loop
        self.sink = FakeSink()  # type: ignore[assignment]
        self.after_ms: int | None = None
        self.dismissed_at: float | None = None

    def reconnect(self, after_ms: int) -> None:
        self.after_ms = after_ms

    def dismiss(self) -> None:
        self.dismissed_at = self._loop.now


class FakeConnections(dict[Sink, Connection]):
    def __init__(self, loop: HandLoop, count: int) -> None:
        super().__init__({c.sink: c for c in (FakeConnection(loop) for _ in range(count))})
        self.deserted = asyncio.Event()

    def remove(self, connection: FakeConnection) -> None:
        del self[connection.sink]
        if not self:
            self.deserted.set()


def drain(connections: FakeConnections, seconds: float) -> Drain:
    real: Connections = connections  # type: ignore[assignment]
    return Drain(real, seconds=seconds, shuffle=lambda _: None)


def pass_time(loop: HandLoop, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        loop.advance(0.1)
        loop.run()


def test_slots_are_even_and_the_first_is_now() -> None:
    assert slots(4, 8.0) == [0.0, 2.0, 4.0, 6.0]
    assert slots(0, 8.0) == []


def test_everybody_is_told_its_slot_and_stragglers_are_dismissed_after_theirs(
    loop: HandLoop,
) -> None:
    connections = FakeConnections(loop, 4)
    clients = list(connections.values())
    task = loop.create_task(drain(connections, 25.0).run())
    loop.run()
    assert [client.after_ms for client in clients] == [0, 5000, 10_000, 15_000]
    connections.remove(clients[1])
    pass_time(loop, 4.9)
    assert not any(client.dismissed_at for client in clients), "each has a while of grace"
    pass_time(loop, 30.0)
    times = [clients[n].dismissed_at for n in (0, 2, 3)]
    assert times == pytest.approx([5.0, 15.0, 20.0], abs=0.2)
    assert clients[1].dismissed_at is None, "it went by itself"
    assert task.done() and all(clients[n].sink.aborted for n in (0, 2, 3)), "nobody stays"


def test_it_ends_when_the_last_has_gone(loop: HandLoop) -> None:
    connections = FakeConnections(loop, 3)
    task = loop.create_task(drain(connections, 60.0).run())
    loop.run()
    for client in list(connections.values()):
        connections.remove(client)
    loop.run()
    assert task.done() and loop.now == 0.0


def test_no_time_at_all_dismisses_everybody_at_once(loop: HandLoop) -> None:
    connections = FakeConnections(loop, 3)
    clients = list(connections.values())
    loop.create_task(drain(connections, 0.0).run())
    pass_time(loop, 0.3)
    assert all(client.dismissed_at is not None for client in clients)
