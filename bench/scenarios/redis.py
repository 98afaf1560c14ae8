"""Three nodes joined by Redis: what one costs, against a node on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench import redis as redis_server
from bench.case import Case, Cases, Side, Turn
from bench.load import sources_of
from bench.peers.notifier import PEER as NOTIFIER
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.scenarios.fanout import CPU, FLAT_OUT, P50, P99, side
from bench.stage import CHANNEL, Stage, serving

NODES = 3
BATCH, BATCH_PUBLISHERS = 50, 2


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    sockets = plan.sockets(1000)
    missing = redis_server.missing()
    for name, title, way, figures in (
        ("redis-paced", "20 a second", {"interval": 0.05}, (CPU, P50, P99)),
        (
            "redis-batches",
            f"{BATCH_PUBLISHERS} publishers of {BATCH} lines a request",
            {"batch": BATCH, "connections": BATCH_PUBLISHERS},
            FLAT_OUT,
        ),
    ):
        alone = side(NOTIFIER, plan, sockets=sockets, seconds=plan.seconds, **way)
        yield Case(
            name,
            f"{sockets:,} sockets on one of {NODES} nodes, {title} at another",
            []
            if missing
            else [
                _joined(plan, sockets, **way),
                Side("memory", "notifier, one node, memory", alone.begin),
            ],
            figures,
            absent={"redis": missing} if missing else {},
        )


def _joined(
    plan: Plan, sockets: int, *, interval: float = 0, batch: int = 0, connections: int = 1
) -> Side:
    """The one with the sockets is measured; what is published comes in at another."""

    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with redis_server.redis(plan) as url, ExitStack() as stack:
            peer = NotifierPeer("--broker", url)
            nodes = [stack.enter_context(serving(peer, plan)) for _ in range(NODES)]
            for running, _ in nodes[1:]:
                if plan.other_cores:
                    running.pin(*plan.other_cores)
            stage = stack.enter_context(Stage(peer, plan, running=nodes[0]))
            group = stage.group(CHANNEL)
            stage.listen(sockets, group)
            for _ in range(connections):
                source = sources_of(stage.load, peer, group, CHANNEL, batch=batch)
                stage.load.publisher(nodes[1][1], [source], interval=interval)
            yield lambda: stage.turn(seconds=plan.seconds)

    return Side("redis", f"notifier, one of {NODES} nodes", begin)
