"""The load finds every message that is lost, repeated, out of order or changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.load import Load, LoadError, handshake, sources_of
from bench.peer import Subscribing
from bench.stage import turn_of
from tests.bench.crooked import Crooked, CrookedPeer, Fault, InPieces, crooked, honest

SOCKETS, MESSAGES = 20, 30
CHOSEN = 7  # the message something is done to
PEER = CrookedPeer()


@asynccontextmanager
async def attached(
    fault: Fault, *, sockets: int = SOCKETS, publishers: int = 1, **options: Any
) -> AsyncIterator[tuple[Load, Crooked]]:
    """The load, with its sockets open and ready to publish to them."""
    async with crooked(fault) as server:
        with Load() as load:
            subscribing = PEER.subscribing()
            group = load.group(server.port, handshake(subscribing), subscribing, **options)
            await asyncio.to_thread(load.open, group, sockets)
            for _ in range(publishers):
                load.publisher(server.port, [sources_of(load, PEER, group, "")])
            yield load, server


async def run(fault: Fault, **options: Any) -> dict[str, Any]:
    async with attached(fault, **options) as (load, _):
        return await asyncio.to_thread(load.run, seconds=30, limit=MESSAGES, patience=0.3)


def wrong(told: dict[str, Any]) -> tuple[int, int, int, int]:
    return told["missing"], told["late"], told["changed"], told["different"]


def chosen_of(sockets: Iterable[int]) -> Any:
    return lambda socket, number: number == CHOSEN and socket in sockets


class Later:
    """Sends a message after the one that follows it."""

    def __init__(self, sockets: Iterable[int]) -> None:
        self._sockets = set(sockets)
        self._held: dict[int, bytes] = {}

    def __call__(self, socket: int, number: int, frame: bytes) -> Iterable[bytes]:
        if socket in self._sockets and number == CHOSEN:
            self._held[socket] = frame
            return []
        return [frame, self._held.pop(socket, b"")]


def losing(sockets: Iterable[int]) -> Fault:
    hit = chosen_of(sockets)
    return lambda socket, number, frame: [] if hit(socket, number) else [frame]


def repeating(sockets: Iterable[int]) -> Fault:
    hit = chosen_of(sockets)
    return lambda socket, number, frame: [frame, frame] if hit(socket, number) else [frame]


def changing(sockets: Iterable[int]) -> Fault:
    hit = chosen_of(sockets)
    return lambda socket, number, frame: [frame[:-1] + b"!"] if hit(socket, number) else [frame]


ALL = range(SOCKETS)


async def test_an_honest_server_has_nothing_against_it() -> None:
    told = await run(honest)
    assert wrong(told) == (0, 0, 0, 0)
    assert told["published"] == MESSAGES
    assert told["delivered"] == told["expected"] == SOCKETS * MESSAGES
    assert told["latency"]["count"] == SOCKETS * MESSAGES
    assert told["last_reader"]["count"] == MESSAGES


@pytest.mark.parametrize("socket", [0, 3, SOCKETS - 1])
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (losing, (1, 0, 0)),
        (repeating, (0, 1, 0)),
        (Later, (1, 1, 0)),
        (changing, (1, 0, 1)),
    ],
)
async def test_what_is_done_to_one_socket_is_found(
    socket: int, fault: Any, found: tuple[int, int, int]
) -> None:
    told = await run(fault([socket]))
    # Where the crooked bytes came first, it is the others that are different.
    if told["different"] <= 1:
        assert wrong(told) == (*found, 1)
    assert turn_of(told, 0.0)["wrong"] > 0


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (losing, (SOCKETS, 0, 0, 0)),
        (repeating, (0, 1, 0, 0)),
        (Later, (SOCKETS, 1, 0, 0)),
        (changing, (SOCKETS, 0, 1, 0)),
    ],
)
async def test_what_is_done_to_all_sockets_is_found(
    fault: Any, found: tuple[int, int, int, int]
) -> None:
    assert wrong(await run(fault(ALL))) == found


@pytest.mark.parametrize("fault", [losing, repeating, Later, changing])
async def test_it_is_found_also_where_each_socket_is_parsed(fault: Any) -> None:
    told = await run(fault([4]), each=1)
    assert told["different"] == 0
    assert told["missing"] + told["late"] + told["changed"] > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("each", [0, 1])
async def test_cut_anywhere_with_pings_between_it_is_the_same_stream(seed: int, each: int) -> None:
    pieces = InPieces(seed)

    def fault(socket: int, number: int, frame: bytes) -> Iterable[bytes]:
        yield from pieces(socket, number, frame)
        if number == MESSAGES - 1:
            yield pieces.rest(socket)

    async with attached(fault, each=each) as (load, server):
        told = await asyncio.to_thread(load.run, seconds=30, limit=MESSAGES, patience=2)
        assert wrong(told) == (0, 0, 0, 0)
        assert told["delivered"] == SOCKETS * MESSAGES
        assert server.heard.count(b"hi") == pieces.pings > 0
        assert server.heard.count(b"yes") == pieces.asides > 0


async def test_messages_of_several_publishers_are_in_order_for_each() -> None:
    async with attached(honest, publishers=4) as (load, _):
        told = await asyncio.to_thread(load.run, seconds=30, limit=400, patience=2)
    assert told["published"] >= 400
    assert wrong(told) == (0, 0, 0, 0)


async def test_a_run_begins_anew() -> None:
    async with attached(honest) as (load, _):
        for _ in range(3):
            told = await asyncio.to_thread(load.run, seconds=30, limit=MESSAGES, patience=2)
            assert wrong(told) == (0, 0, 0, 0)
            assert told["published"] == MESSAGES


async def test_a_server_that_talks_no_frames_ends_it() -> None:
    with pytest.raises(LoadError, match="no frame"):
        await run(lambda socket, number, frame: [b"\x00" * 8])


async def test_sockets_that_cannot_subscribe_are_told_of() -> None:
    with Load() as load:
        subscribing = Subscribing("/")
        group = load.group(1, handshake(subscribing), subscribing)
        with pytest.raises(LoadError, match="not all"):
            load.open(group, 3)
