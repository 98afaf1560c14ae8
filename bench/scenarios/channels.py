"""Many channels with few sockets each; one socket on many channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Side, Turn
from bench.load import sources_of
from bench.peer import Peer
from bench.peers import peers
from bench.plan import Plan
from bench.scenarios.fanout import FLAT_OUT
from bench.stage import Stage

PUBLISHERS = 8
SOCKETS_PER_CHANNEL = 5
CHANNELS_PER_SOCKET = 50


def cases(plan: Plan) -> Cases:
    present, absent = peers(plan.main_peers)
    present = [peer for peer in present if peer.channels]
    channels = plan.sockets(1000)
    yield Case(
        "many-channels",
        f"{channels:,} channels with {SOCKETS_PER_CHANNEL} sockets each, {PUBLISHERS} publishers",
        [_many_channels(peer, plan, channels) for peer in present],
        FLAT_OUT,
        absent=absent,
    )
    sockets = plan.sockets(500)
    yield Case(
        "wide-sockets",
        f"{sockets:,} sockets on the same {CHANNELS_PER_SOCKET} channels, {PUBLISHERS} publishers",
        [_wide_sockets(peer, plan, sockets) for peer in present],
        FLAT_OUT,
        absent=absent,
    )


def _publish(stage: Stage, sources: list[int]) -> None:
    for first in range(PUBLISHERS):
        stage.load.publisher(stage.port, sources[first::PUBLISHERS])


def _many_channels(peer: Peer, plan: Plan, channels: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        with Stage(peer, plan) as stage:
            sources = []
            for number in range(channels):
                channel = f"bench-{number}"
                group = stage.group(channel)
                stage.load.open(group, SOCKETS_PER_CHANNEL)
                sources.append(sources_of(stage.load, peer, group, channel))
            _publish(stage, sources)
            yield lambda: stage.turn(seconds=plan.seconds)

    return Side(peer.name, peer.title, begin)


def _wide_sockets(peer: Peer, plan: Plan, sockets: int) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        channels = [f"bench-{number}" for number in range(CHANNELS_PER_SOCKET)]
        with Stage(peer, plan) as stage:
            # Channels may come in another order on each socket: each is parsed.
            group = stage.group(*channels, each=1)
            stage.listen(sockets, group)
            _publish(stage, [sources_of(stage.load, peer, group, name) for name in channels])
            yield lambda: stage.turn(seconds=plan.seconds)

    return Side(peer.name, peer.title, begin)
