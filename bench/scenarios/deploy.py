"""A node leaves under load, and its clients go on at another one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench import redis as redis_server
from bench.case import Case, Cases, Figure, Side, Turn
from bench.load import sources_of
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.stage import CHANNEL, Stage, serving, turn_of

BACK = Figure("back_seconds", "SIGTERM until all are back", "s", 1, 2)
LOST = Figure("lost", "lost", "", 1, 0)
AWAY = Figure("away_p99", "a client is away, p99", "ms", 1e3, 0)
LATENCY = Figure("latency_max", "latency, max", "ms", 1e3, 0)
PER_SECOND = 10
WARMING_SECONDS = 1.0


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    clients = plan.sockets(3000)
    drain = 3 if plan.quick else 10
    missing = redis_server.missing()
    yield Case(
        "deploy",
        f"{clients:,} clients of a node that drains in {drain} s, {PER_SECOND} messages a second",
        [] if missing else [_side(plan, clients, drain)],
        (BACK, LOST, AWAY, LATENCY),
        rounds=1 if plan.quick else 2,
        warm=False,
        absent={"redis": missing} if missing else {},
    )


def _side(plan: Plan, clients: int, drain: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with redis_server.redis(plan) as url:
            peer = NotifierPeer("--broker", url, "--drain-seconds", str(drain))
            yield lambda: _turn(peer, plan, clients, drain)

    return Side("notifier", "notifier, two nodes on Redis", begin)


def _turn(peer: NotifierPeer, plan: Plan, clients: int, drain: int) -> Turn:
    with serving(peer, plan) as (old, old_port), serving(peer, plan) as (new, new_port):
        with Stage(peer, plan, running=(old, old_port)) as stage:
            group = stage.group(
                CHANNEL, resume=True, each=1, returning=1, leave=b'{"type":"reconnect","after_ms":'
            )
            stage.listen(clients, group)
            source = sources_of(stage.load, peer, group, CHANNEL)
            stage.load.publisher(new_port, [source], interval=1 / PER_SECOND)
            # Who comes back goes where a load balancer would send them.
            stage.load.tell("port", group=group, port=new_port)
            cpu = new.cpu_seconds()
            begun = time.monotonic()
            stage.load.begin("run", seconds=drain + 3 + WARMING_SECONDS, patience=5)
            time.sleep(WARMING_SECONDS)
            told_to_go = time.monotonic() - begun
            old.signal(signal.SIGTERM)
            told = stage.load.end()
            turn = turn_of(told, new.cpu_seconds() - cpu)
            lost = told["published"] * clients - told["delivered"]
            turn |= {"back_seconds": told["last_return"] - told_to_go, "lost": lost}
            if told["returned"] < clients:
                turn["wrong"] += clients - told["returned"]
            return turn
