"""From the request to each receiver: one POST after the other, far from what the server bears."""

from __future__ import annotations

from bench.case import Case, Cases, Figure
from bench.peers import peers
from bench.plan import Plan
from bench.scenarios.fanout import CPU, LARGE, side

QUANTILES = (
    Figure("latency_p99", "p99", "ms", 1e3, 2),
    Figure("latency_p50", "median", "ms", 1e3, 2),
    Figure("latency_p90", "p90", "ms", 1e3, 2),
    Figure("latency_p999", "p99.9", "ms", 1e3, 2),
    Figure("latency_max", "max", "ms", 1e3, 2),
    Figure("last_reader_p50", "last receiver, median", "ms", 1e3, 2),
    Figure("last_reader_p99", "last receiver, p99", "ms", 1e3, 2),
)


def cases(plan: Plan) -> Cases:
    present, absent = peers([name for name in plan.main_peers if name in LARGE])
    for sockets in (100,) if plan.quick else (100, plan.sockets(1000)):
        yield Case(
            f"latency-{sockets}",
            f"{sockets:,} sockets, 50 a second",
            [
                side(peer, plan, sockets=sockets, interval=0.02, seconds=plan.seconds)
                for peer in present
            ],
            (*QUANTILES, CPU),
            absent=absent,
        )
