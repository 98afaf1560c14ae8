"""What a publication costs when nobody listens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench import redis as redis_server
from bench.case import Case, Cases, Figure, Side, Turn
from bench.load import client_frame, handshake
from bench.peer import Peer, Subscribing
from bench.peers.empty_handler import PEER as EMPTY
from bench.peers.notifier import PEER as NOTIFIER
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.stage import CHANNEL, Stage

CPU = Figure("cpu_per_publication", "server CPU per publication", "µs", 1e6, 1)
RATE = Figure("publications_per_second", "publications", "/s", 1, 0, more_is_better=True)
PER_CORE = Figure(
    "publications_per_core", "publications per core-second", "", 1, 0, more_is_better=True
)
ANSWER = Figure("answer_p99", "answer, p99", "ms", 1e3, 2)
FIGURES = (CPU, RATE, PER_CORE, ANSWER)
BATCH = 500
FRAMES = 50

# How to prepare a stage on which nobody listens: its publishers.
Prepare = Callable[[Stage], None]


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    yield Case(
        "post",
        "one POST at a time over keep-alive",
        [
            side("notifier", "notifier, memory", NOTIFIER, plan, one_at_a_time),
            side("empty_handler", EMPTY.title, EMPTY, plan, one_at_a_time),
        ],
        FIGURES,
    )
    brokers: list[tuple[str, list[str]]] = [("memory", [])]
    absent = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-sqlite-"))
        brokers.append(("sqlite", ["--broker", f"sqlite:{folder}/bench.db"]))
        if reason := redis_server.missing():
            absent["redis"] = reason
        else:
            url = stack.enter_context(redis_server.redis(plan))
            brokers.append(("redis", ["--broker", url]))
        for name, title, prepare in (
            ("post-brokers", "8 publishers of single POSTs", _eight),
            ("ndjson", f"NDJSON, {BATCH} lines a request, 2 publishers", _ndjson),
            ("websocket", f"WebSocket, {FRAMES} commands at a time", _websocket),
        ):
            sides = [
                side(broker, f"notifier, {broker}", NotifierPeer(*options), plan, prepare)
                for broker, options in brokers
            ]
            yield Case(name, title, sides, FIGURES, absent=absent)


def one_at_a_time(stage: Stage) -> None:
    stage.publish()


def _eight(stage: Stage) -> None:
    stage.publish(connections=8)


def _ndjson(stage: Stage) -> None:
    stage.publish(connections=2, batch=BATCH)


def _websocket(stage: Stage) -> None:
    placeholder = stage.load.placeholder.decode()
    command = f'{{"type":"publish","channel":"{CHANNEL}","message":"{placeholder}","ref":1}}'
    source = stage.load.source(0, client_frame(command.encode()) * FRAMES)
    opening = handshake(Subscribing("/ws"))
    stage.load.publisher(stage.port, [source], handshake=opening, needle=b'"type":"reply"')


def side(name: str, title: str, peer: Peer, plan: Plan, prepare: Prepare) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(peer, plan) as stage:
            # Nobody: a group without sockets.
            stage.load.group(stage.port, b"", Subscribing("/"))
            prepare(stage)
            yield lambda: stage.turn(seconds=plan.seconds)

    return Side(name, title, begin)
