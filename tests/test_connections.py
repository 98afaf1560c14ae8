"""Who may come to a node, and what is left when they go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.revocations import Revocation
from notifier.brokers.fleet import DisconnectAll
from notifier.connectionstate import Holder
from notifier.errors import (
    Draining,
    NotifierError,
    TooManyConnections,
    TooManyConnectionsOfUser,
)
from notifier.wire.websocket import frame
from tests.nodebench import Bench


@contextmanager
def made(**settings: Any) -> Iterator[Bench]:
    bench = Bench(**settings)
    try:
        yield bench
    finally:
        bench.end()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with made() as bench:
        yield bench


def test_room_is_limited_and_gone_when_the_node_leaves(bench: Bench) -> None:
    connections = bench.node.connections
    first = bench.connect()
    connections.check_room("192.0.2.1", ANYBODY)
    bench.connect()
    with pytest.raises(TooManyConnections):
        connections.check_room("192.0.2.1", ANYBODY)
    connections.remove(first)
    connections.check_room("192.0.2.1", ANYBODY)
    assert bench.node.not_ready() is None
    connections.draining = True
    assert bench.node.not_ready() == "draining"
    with pytest.raises(Draining):
        connections.check_room("192.0.2.1", ANYBODY)


def test_they_are_deserted_while_nobody_is_here_and_removing_twice_counts_once(
    bench: Bench,
) -> None:
    connections = bench.node.connections
    traffic = bench.node.counts.traffic["websocket"]
    assert connections.deserted.is_set()
    one, two = bench.connect(), bench.connect()
    assert list(connections.values()) == [one, two] and not connections.deserted.is_set()
    connections.remove(one)
    connections.remove(one)
    assert (traffic.open, traffic.opened, sum(traffic.closed.values())) == (1, 2, 1)
    assert not connections.deserted.is_set()
    connections.remove(two)
    assert connections.deserted.is_set() and not connections


def test_who_is_on_its_way_takes_room_and_gives_it_back_if_it_gets_lost(bench: Bench) -> None:
    connections = bench.node.connections
    with pytest.raises(ConnectionError), connections.arriving("192.0.2.1", ANYBODY):
        bench.connect()
        with pytest.raises(TooManyConnections):
            connections.check_room("192.0.2.1", ANYBODY)
        raise ConnectionError
    connections.check_room("192.0.2.1", ANYBODY)
    bench.connect()
    with pytest.raises(TooManyConnections):
        connections.check_room("192.0.2.1", ANYBODY)


def test_who_shows_who_it_is_counts_as_that_from_then_on() -> None:
    with made(max_connections_per_user=1) as bench:
        connections = bench.node.connections
        alice, bob = Identity("token", "alice"), Identity("token", "bob")
        one, two = bench.connect(), bench.connect()
        connections.renew(one, alice)
        connections.renew(one, alice)
        with pytest.raises(TooManyConnectionsOfUser):
            connections.renew(two, alice)
        assert two.identity == ANYBODY
        connections.renew(one, bob)
        connections.renew(two, alice)
        connections.remove(one)
        connections.remove(one)
        connections.renew(two, bob)


def test_where_all_leave_too_much_unread_those_who_leave_most_go() -> None:
    with made(max_backlog_bytes=1500) as bench:
        one, two = bench.connect(), bench.connect()
        one.sink.write(b"x" * 2200)
        two.sink.write(b"x" * 1300)
        bench.node.connections.sweep()
        assert (one.died_of, two.died_of) == (None, None), "1500, beside the kernels'"
        two.sink.write(b"x")
        bench.node.connections.sweep()
        assert (one.died_of, two.died_of) == ("backlog", None)


def test_a_publication_that_was_cut_is_no_backlog() -> None:
    with made(max_backlog_bytes=1) as bench:
        one = bench.connect()
        one.sink.spill([frame(b"x" * 5000)], 0)
        one.sink.write(b"x")
        assert one.sink.backlog() <= 1
        bench.node.connections.sweep()
        assert one.died_of is None


@pytest.mark.parametrize("why", ["over", "revoked", "ended by an admin"])
def test_one_that_cannot_be_ended_keeps_nobody_from_its_end(why: str) -> None:
    with made() as bench:
        node = bench.node
        bad, good = bench.connect(), bench.connect()
        bad.end = fail  # type: ignore[method-assign]
        for connection in (bad, good):
            jti = Identity("token", "42", expires_at=None if why != "over" else 0.5)
            node.connections.renew(connection, replace(jti, credential_id="lost"))
        if why == "over":
            node.sweep()
        elif why == "revoked":
            node.residents.revoke([Revocation("lost", 100.0)])
        else:
            bench.loop.complete(node.residents.answer(DisconnectAll(Holder("token", "42"))))
        assert len(good.ended) == 1
        assert bad.sink.ended == "fault" and bad.stream.closed
        (failure,) = bench.loop._failures
        bench.loop._failures.clear()
        assert isinstance(failure["exception"], ZeroDivisionError)


def fail(refusal: NotifierError) -> None:
    raise ZeroDivisionError


def test_buckets_that_are_full_again_are_forgotten() -> None:
    with made(max_publishes_per_second=1) as bench:
        node = bench.node
        node.connections.check_room("192.0.2.1", ANYBODY)
        arrivals, rate = node.connections._limits._arrivals, node.publish_rate
        assert arrivals is not None and rate is not None
        rate.take(ANYBODY, "192.0.2.1")
        node.sweep()
        assert (len(arrivals), len(rate._buckets)) == (1, 1)
        bench.now = 100.0
        node.sweep()
        assert (len(arrivals), len(rate._buckets)) == (0, 0)
