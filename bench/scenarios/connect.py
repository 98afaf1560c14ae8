"""Handshakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.peer import Peer
from bench.peers import peers
from bench.plan import Plan
from bench.scenarios.memory import CHROME
from bench.stage import CHANNEL, Stage

CPU = Figure("cpu_per_handshake", "server CPU per handshake", "µs", 1e6, 0)
RATE = Figure("handshakes_per_second", "handshakes", "/s", 1, 0, more_is_better=True)
P99 = Figure("opening_p99", "until subscribed, p99", "ms", 1e3, 0)
AT_ONCE = 128


def cases(plan: Plan) -> Cases:
    present, absent = peers(plan.main_peers)
    sockets = plan.sockets(2000)
    yield Case(
        "handshakes",
        f"{sockets:,} handshakes with Chrome's headers and a subscription, {AT_ONCE} at once",
        [_side(peer, plan, sockets) for peer in present],
        (CPU, RATE, P99),
        absent=absent,
    )


def _side(peer: Peer, plan: Plan, sockets: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(peer, plan) as stage:

            def turn() -> Turn:
                cpu = stage.server.cpu_seconds()
                opened = stage.load.open(
                    stage.group(CHANNEL, headers=CHROME), sockets, at_once=AT_ONCE
                )
                cpu = stage.server.cpu_seconds() - cpu
                stage.load.tell("clear")
                return {
                    "cpu_per_handshake": cpu / sockets,
                    "handshakes_per_second": sockets / opened["seconds"],
                    "opening_p99": opened["opening"]["p99"],
                    "wrong": 0,
                }

            yield turn

    return Side(peer.name, peer.title, begin)
