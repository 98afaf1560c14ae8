"""The WebSocket transports as an independent client has them: the library ``websockets``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from notifier.drain import Drain, by_chance
from tests.rawsocket import Service, serving, until


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(ping_interval=0.1) as service:
        yield service


def to(service: Service, path: str) -> Any:
    return connect(f"ws://127.0.0.1:{service.port}{path}", max_size=None)


async def joined(service: Service, channel: str, count: int = 1) -> None:
    """Wait until so many follow it live."""
    await until(lambda: service.node._hub.subscribers(channel) == count)
    subscriptions = service.node._hub.feeds[channel].subscriptions
    await until(lambda: all(one.standing.name == "LIVE" for one in subscriptions))


async def message(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def test_a_conversation_over_raw(service: Service) -> None:
    async with to(service, "/raw/chat") as one, to(service, "/raw/chat?echo=0") as other:
        await joined(service, "chat", 2)
        big = "é" * 200_000
        for sent in ("hi", "", b"\0\1\2", b"", big, big.encode()):
            await one.send(sent)
            assert await one.recv() == sent
            assert await other.recv() == sent
            await other.send(sent)
            assert await one.recv() == sent
        # In fragments, and with pings in between.
        await one.send(["one ", "message ", "", "in parts"])
        await (await one.ping())
        assert await one.recv() == await other.recv() == "one message in parts"
        await one.send([b"\0", b"\1"])
        assert await one.recv() == await other.recv() == b"\0\1"
    await until(service.node.connections.deserted.is_set)


async def test_raw_is_closed_with_a_code_when_something_is_lost() -> None:
    async with serving(history_size=2) as service:
        for number in range(9):
            await service.publish("a", str(number))
        place = service.broker.ledgers["a"].publications[0].position
        with pytest.raises(ConnectionClosed) as closed:
            async with to(service, f"/raw/a?since={place}") as socket:
                await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4501
        async with to(service, "/raw/a?since=-2") as socket:
            assert [await socket.recv(), await socket.recv()] == ["7", "8"]


async def test_a_pattern_over_the_native_protocol(service: Service) -> None:
    await service.publish("builds:1", "old")
    async with to(service, "/ws?channel=builds:*") as socket:
        types = [(m["type"], m.get("channel")) for m in [await message(socket) for _ in range(3)]]
        assert types == [
            ("welcome", None),
            ("subscribed", "builds:1"),
            ("subscribed", "builds:*"),
        ]
        await socket.send(json.dumps({"type": "publish", "channel": "builds:2", "message": "new"}))
        came = {m["type"]: m for m in [await message(socket) for _ in range(3)]}
        assert came["reply"]["result"]["channel"] == "builds:2"
        assert came["subscribed"]["pattern"] == "builds:*"
        assert came["notification"]["message"] == "new"
        await socket.send(json.dumps({"type": "unsubscribe", "channel": "builds:*"}))
        assert (await message(socket))["type"] == "unsubscribed"
        await service.publish("builds:3", "not for it")
        await socket.send(json.dumps({"type": "ping", "ref": 1}))
        assert (await message(socket))["ref"] == 1


async def test_pings_are_answered_for_as_long_as_it_lasts(service: Service) -> None:
    async with to(service, "/raw/a") as socket:
        await joined(service, "a")
        await asyncio.sleep(0.5)
        await service.publish("a", "still here")
        assert await socket.recv() == "still here"


async def test_what_is_refused_is_refused_before_the_handshake(service: Service) -> None:
    for path, status in (("/raw/a%20b", 400), ("/ws?channel=**", 400), ("/raw/a?echo=2", 400)):
        with pytest.raises(InvalidStatus) as refused:
            await to(service, path)
        assert refused.value.response.status_code == status


@pytest.mark.parametrize("path", ["/raw/a", "/ws?channel=a"])
async def test_a_node_that_leaves_closes_in_good_order(service: Service, path: str) -> None:
    async with to(service, path) as socket:
        await joined(service, "a")
        draining = asyncio.create_task(
            Drain(service.node.connections, seconds=0.1, shuffle=by_chance).run()
        )
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
        assert closed.value.sent is not None and closed.value.sent.code == 4000
        await draining
