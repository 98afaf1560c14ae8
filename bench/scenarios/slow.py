"""One reader in a hundred is stuck: what the others notice, and what the server holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.peer import Peer
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.stage import CHANNEL, Stage

P99 = Figure("latency_p99", "others' latency, p99", "ms", 1e3, 1)
CPU = Figure("cpu_per_delivery", "server CPU per delivery", "µs", 1e6, 2)
GREW = Figure("grew_bytes", "memory, growth in a turn", "KiB", 1 / 1024, 0)
MAX = Figure("latency_max", "others' latency, max", "ms", 1e3, 1)
PAYLOAD_BYTES = 1000
BATCH, PER_SECOND = 10, 10
FILLING_MESSAGES = 8000


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    sockets = plan.sockets(1000)
    stuck = max(1, sockets // 100)
    ours = NotifierPeer("--stalled-seconds", "900")
    sides = [
        _side("stuck", f"notifier, {stuck} stuck", ours, plan, sockets, stuck),
        _side("none", "notifier, none stuck", ours, plan, sockets, 0),
    ]
    yield Case(
        "slow",
        f"{sockets:,} sockets, {BATCH * PER_SECOND} messages of {PAYLOAD_BYTES} bytes a second",
        sides,
        (P99, MAX, CPU, GREW),
    )


def _side(name: str, title: str, peer: Peer, plan: Plan, sockets: int, stuck: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(peer, plan, payload_bytes=PAYLOAD_BYTES) as stage:
            group = stage.group(CHANNEL)
            if stuck:
                stage.load.open(group, stuck, stuck=1, receive_buffer=4096)
            stage.listen(sockets - stuck, group)
            # Until the kernel takes no more for those that are stuck.
            stage.publish(batch=100)
            stage.load.run(seconds=60, limit=FILLING_MESSAGES)
            stage.load.tell("forget")
            stage.publish(batch=BATCH, interval=1 / PER_SECOND)

            def turn() -> Turn:
                before = stage.server.memory_bytes()
                result = stage.turn(seconds=plan.seconds)
                return result | {"grew_bytes": stage.server.memory_bytes() - before}

            yield turn

    return Side(name, title, begin)
