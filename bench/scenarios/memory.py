"""What a connection holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.load import sources_of
from bench.peer import Peer
from bench.peers import peers
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.stage import Stage

# What Chrome 131 on Windows sends with a handshake, from a page of the same server.
CHROME = {
    "Pragma": "no-cache",
    "Cache-Control": "no-cache",
    "User-Agent": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36"
    ),
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "Cookie": "_ga=GA1.1.1234567890.1700000000; theme=dark; session=k3Jd9wQaZk3hJ0q2bXw9c1M",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
}
PER_CONNECTION = Figure("bytes_per_connection", "resident per connection", "KiB", 1 / 1024, 1)
PER_FEED = Figure("bytes_per_connection", "resident per channel with one socket", "KiB", 1 / 1024)
PER_STUCK = Figure("bytes_per_connection", "resident per stuck socket", "KiB", 1 / 1024, 1)
ROUNDS = 3
SETTLING_SECONDS = 1.0
PUBLICATIONS_PER_FEED = 10
STUCK_BYTES = 2000


def cases(plan: Plan) -> Cases:
    present, absent = peers(plan.main_peers)
    sockets, rounds = plan.sockets(5000), 1 if plan.quick else ROUNDS
    yield Case(
        "idle",
        f"{sockets:,} idle sockets with Chrome's headers",
        [_side(peer, plan, sockets, _idle) for peer in present],
        (PER_CONNECTION,),
        rounds=rounds,
        warm=False,
        absent=absent,
    )
    if "notifier" not in plan.peers:
        return
    ours = NotifierPeer("--stalled-seconds", "600")
    feeds = plan.sockets(2000)
    yield Case(
        "feeds",
        f"{feeds:,} channels with a socket and {PUBLICATIONS_PER_FEED} publications each",
        [_side(ours, plan, feeds, _feeds)],
        (PER_FEED,),
        rounds=rounds,
        warm=False,
    )
    stuck = plan.sockets(500)
    yield Case(
        "stuck",
        f"{stuck:,} sockets that read nothing of 20 MB",
        [_side(ours, plan, stuck, _stuck, payload_bytes=STUCK_BYTES)],
        (PER_STUCK,),
        rounds=rounds,
        warm=False,
    )


def _side(
    peer: Peer,
    plan: Plan,
    sockets: int,
    fill: Callable[[Stage, int], None],
    *,
    payload_bytes: int = 200,
) -> Side:
    """Each turn has a server of its own, since none gives all memory back."""

    def turn() -> Turn:
        with Stage(peer, plan, payload_bytes=payload_bytes) as stage:
            time.sleep(SETTLING_SECONDS)
            before = stage.server.memory_bytes()
            fill(stage, sockets)
            time.sleep(SETTLING_SECONDS)
            held = stage.server.memory_bytes() - before
            return {"bytes_per_connection": held / sockets, "wrong": 0}

    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        yield turn

    return Side(peer.name, peer.title, begin)


def _idle(stage: Stage, sockets: int) -> None:
    group = stage.group("bench", headers=CHROME)
    stage.load.open(group, sockets)


def _feeds(stage: Stage, channels: int) -> None:
    sources = []
    for number in range(channels):
        group = stage.group(f"bench-{number}", headers=CHROME)
        stage.load.open(group, 1)
        sources.append(sources_of(stage.load, stage.peer, group, f"bench-{number}"))
    stage.load.publisher(stage.port, sources)
    stage.load.run(seconds=60, limit=channels * PUBLICATIONS_PER_FEED)


def _stuck(stage: Stage, sockets: int) -> None:
    group = stage.group("bench")
    stage.load.open(group, sockets, stuck=1, receive_buffer=4096)
    stage.publish(batch=50)
    stage.load.run(seconds=60, limit=10_000, drain=0)
