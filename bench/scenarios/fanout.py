"""One channel, many sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.case import Case, Cases, Figure, Side, Turn
from bench.peer import Peer
from bench.peers import peers
from bench.peers.floor import FloorPeer
from bench.plan import Plan
from bench.stage import Stage

CPU = Figure("cpu_per_delivery", "server CPU per delivery", "µs", 1e6, 2)
RATE = Figure("deliveries_per_second", "deliveries", "/s", 1, 0, more_is_better=True)
PER_CORE = Figure("deliveries_per_core", "per core-second", "", 1, 0, more_is_better=True)
CORES = Figure("cores", "cores: server", "", 1, 2)
LOAD_CORES = Figure("load_cores", "load", "", 1, 2)
P50 = Figure("latency_p50", "latency, median", "ms", 1e3, 1)
P99 = Figure("latency_p99", "latency, p99", "ms", 1e3, 1)
MAX = Figure("latency_max", "latency, max", "ms", 1e3, 1)
STALL = Figure("probe_max", "longest wait for another request's answer", "ms", 1e3, 1)

PACED = (CPU, P50, P99, MAX)
FLAT_OUT = (RATE, CPU, PER_CORE, P99, CORES, LOAD_CORES)
# Fan-out to 15,000 is for those that come near the floor; the others take minutes to connect.
LARGE = ("notifier", "floor", "nchan", "ws", "centrifugo")
SINGLE_PUBLISHERS = 8
BATCH, BATCH_PUBLISHERS = 50, 2
PROBES_PER_SECOND = 100


def cases(plan: Plan) -> Cases:
    present, absent = peers(plan.peers)

    def case(
        name: str, title: str, those: Sequence[Peer], figures: Sequence[Figure], **way: float
    ) -> Case:
        sides = [side(peer, plan, **way) for peer in those]
        return Case(name, title, sides, figures, absent=absent)

    thousand = plan.sockets(1000)
    yield case(
        "paced",
        f"{thousand:,} sockets, 200 bytes, 20 a second",
        present,
        PACED,
        sockets=thousand,
        interval=0.05,
        seconds=plan.seconds,
    )
    flat_out = case(
        "flat-out",
        f"{thousand:,} sockets, {SINGLE_PUBLISHERS} publishers of single POSTs",
        present,
        FLAT_OUT,
        sockets=thousand,
        connections=SINGLE_PUBLISHERS,
        seconds=plan.seconds,
    )
    if "floor" in {peer.name for peer in present}:
        # What can be done at most by who joins the messages of a turn, as we do.
        joined = side(
            FloorPeer("--batch"),
            plan,
            sockets=thousand,
            connections=SINGLE_PUBLISHERS,
            seconds=plan.seconds,
        )
        joined = replace(joined, name="floor_batch", title="send() once a turn (C)")
        flat_out = replace(flat_out, sides=[*flat_out.sides, joined])
    yield flat_out
    batching = [peer for peer in present if peer.publish_many("c", [b"p"]) is not None]
    yield case(
        "batches",
        f"{thousand:,} sockets, {BATCH_PUBLISHERS} publishers of {BATCH} lines a request",
        batching,
        FLAT_OUT,
        sockets=thousand,
        connections=BATCH_PUBLISHERS,
        batch=BATCH,
        seconds=plan.seconds,
    )
    many = plan.sockets(15_000)
    yield case(
        "paced-many",
        f"{many:,} sockets, 200 bytes, 4 a second",
        [peer for peer in present if peer.name in LARGE],
        (*PACED, STALL),
        sockets=many,
        interval=0.25,
        seconds=plan.seconds,
        probe=1,
    )


def side(
    peer: Peer,
    plan: Plan,
    *,
    sockets: float,
    seconds: float,
    connections: float = 1,
    batch: float = 0,
    interval: float = 0.0,
    probe: float = 0,
) -> Side:
    """A peer with so many sockets on one channel, and its publishers."""

    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(peer, plan) as stage:
            stage.listen(int(sockets))
            stage.publish(connections=int(connections), batch=int(batch), interval=interval)
            if probe:
                stage.probe(PROBES_PER_SECOND)
            yield lambda: stage.turn(seconds=seconds)

    return Side(peer.name, peer.title, begin)
