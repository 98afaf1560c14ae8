"""What those who run the service learn of the other nodes."""

from __future__ import annotations

from dataclasses import asdict

from notifier.brokers.fleet import ListConnections
from notifier.connectionstate import ConnectionState
from tests.nodebench import Bench


def test_connections_of_a_newer_version_are_listed_with_what_is_known() -> None:
    bench = Bench()
    there = ConnectionState(
        id="c9",
        node="there",
        transport="websocket",
        remote="192.0.2.1",
        kind="token",
        name="42",
        since_ms=1000,
        subscriptions=1,
        expires_at=None,
    )
    bench.fleet.answer = [{**asdict(there), "mood": "good"}]
    listing = bench.loop.create_task(bench.node.administration.connections(None, "", None))
    bench.end()
    assert list(listing.result().connections) == [there]


def test_no_more_is_asked_of_the_others_than_one_page_needs() -> None:
    bench = Bench()
    bench.fleet.answer = []
    listing = bench.loop.create_task(bench.node.administration.connections(None, "c1", 10))
    bench.end()
    assert list(listing.result().connections) == []
    (asked,) = bench.fleet.orders
    assert asked == ListConnections(None, "c1", 11), "one to know whether there is a next page"
