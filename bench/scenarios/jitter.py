"""Clients lose their connections all the time, while messages flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.peers.notifier import PEER as NOTIFIER
from bench.plan import Plan
from bench.stage import CHANNEL, Stage

DELIVERED = Figure("delivered_percent", "delivered", "%", 1, 4, more_is_better=True)
REPLAY = Figure("replay_p99", "connected to last missed message, p99", "ms", 1e3, 1)
WORST = Figure("replay_max", "the same, max", "ms", 1e3, 1)
RETURNS = Figure("replay_count", "returns", "", 1, 0, more_is_better=True)
CPU = Figure("cpu_per_delivery", "server CPU per delivery", "µs", 1e6, 2)
STAY_SECONDS, AWAY_SECONDS = 15.0, 2.0
PER_SECOND = 5


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    clients = plan.sockets(3000)
    yield Case(
        "jitter",
        f"{clients:,} clients that drop about every {STAY_SECONDS:.0f} s for {AWAY_SECONDS:.0f} s, "
        f"{PER_SECOND} messages a second",
        [_side(plan, clients)],
        (REPLAY, DELIVERED, WORST, RETURNS, CPU),
        rounds=1 if plan.quick else 2,
        warm=False,
    )


def _side(plan: Plan, clients: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(NOTIFIER, plan) as stage:
            group = stage.group(CHANNEL, resume=True, each=1, returning=1)
            stage.listen(clients, group)
            stage.publish(interval=1 / PER_SECOND)

            def turn() -> Turn:
                result = stage.turn(
                    seconds=5 if plan.quick else 20,
                    stay=STAY_SECONDS,
                    away=AWAY_SECONDS,
                    patience=5,
                )
                everything = result["published"] * clients
                lost = everything - result["delivered"]
                return result | {"delivered_percent": 100 * (1 - lost / everything)}

            yield turn

    return Side("notifier", NOTIFIER.title, begin)
