"""All come back at once and resume what they have missed, against bare handshakes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.peers import peers
from bench.peers.floor import PEER as FLOOR
from bench.peers.notifier import PEER as NOTIFIER
from bench.plan import Plan
from bench.stage import CHANNEL, Stage, turn_of

CPU = Figure("cpu_per_client", "server CPU per client", "µs", 1e6, 0)
BACK = Figure("last_return", "until all are back", "s", 1, 2)
REPLAY = Figure("replay_p99", "handshake to last missed message, p99", "ms", 1e3, 0)
MISSED = 100
FRAME_BYTES = 355  # of a payload of 200 in the native protocol
AT_ONCE = 1000
GOING_SECONDS = 1.0  # until the server has noticed that they are gone


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    clients = plan.sockets(10_000)
    sides = [
        _storm(plan, clients, resume=True),
        _storm(plan, clients, resume=False),
    ]
    absent = peers(["floor"])[1]
    if not absent:
        sides.append(_bytes(plan, clients))
    yield Case(
        "storm",
        f"{clients:,} clients resume {MISSED} missed messages each",
        sides,
        (CPU, BACK, REPLAY),
        absent=absent,
    )


def _storm(plan: Plan, clients: int, *, resume: bool) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(NOTIFIER, plan) as stage:
            group = stage.group(CHANNEL, resume=resume, each=1)
            stage.listen(clients, group)
            if resume:
                stage.publish()

            def turn() -> Turn:
                stage.load.tell("drop")
                time.sleep(GOING_SECONDS)
                if resume:
                    stage.load.run(seconds=60, limit=MISSED, drain=0)
                cpu = stage.server.cpu_seconds()
                told = stage.load.tell("storm", at_once=AT_ONCE)
                cpu = stage.server.cpu_seconds() - cpu
                result = turn_of(told, cpu)
                return result | {
                    "cpu_per_client": cpu / clients,
                    "last_return": told["last_return"],
                }

            yield turn

    if resume:
        return Side("resume", "notifier, resuming", begin)
    return Side("bare", "notifier, bare handshakes", begin)


def _bytes(plan: Plan, clients: int) -> Side:
    """As many bytes to as many, in one ``send`` each."""

    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(FLOOR, plan, payload_bytes=MISSED * FRAME_BYTES) as stage:
            stage.listen(clients)
            stage.publish()

            def turn() -> Turn:
                result = stage.turn(seconds=60, limit=1)
                return result | {"cpu_per_client": result["cpu_seconds"] / clients}

            yield turn

    return Side("bytes", "the bytes alone, send() in C", begin)
