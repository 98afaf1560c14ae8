"""Who may come to a node, and what is left when they go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notifier.errors import Draining, TooManyConnections
from tests.nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


def test_room_is_limited_and_gone_when_the_node_leaves(bench: Bench) -> None:
    connections = bench.node.connections
    first = bench.connect()
    connections.check_room()
    bench.connect()
    with pytest.raises(TooManyConnections):
        connections.check_room()
    connections.remove(first)
    connections.check_room()
    assert bench.node.not_ready() is None
    connections.draining = True
    assert bench.node.not_ready() == "draining"
    with pytest.raises(Draining):
        connections.check_room()


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
