"""Channels that come to life while somebody joins a pattern."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from notifier.brokers.redis.broker import RedisBroker
from notifier.server import Server
from tests.handlers.serving import RawSocket, raw_socket, request, serving
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=20)


@pytest.fixture
async def two(redis_server: RedisServer) -> AsyncIterator[tuple[Server, Server]]:
    shared = {"broker": redis_server.url, "redis_prefix": uuid4().hex}
    async with serving(**shared) as one, serving(**shared) as other:
        yield one, other


class SlowBirths:
    """Lets a node wait between announcing a newborn channel and publishing to it."""

    def __init__(self, node: Server) -> None:
        broker = node.node.broker
        assert isinstance(broker, RedisBroker)
        self.announced = asyncio.Event()
        self.go_on = asyncio.Event()
        self._registry = broker._registry
        self._enter = self._registry.enter
        self._registry.enter = self._enter_slowly  # type: ignore[method-assign]

    async def _enter_slowly(self, channel: str, epoch: str) -> None:
        await self._enter(channel, epoch)
        self.announced.set()
        await self.go_on.wait()


async def joined(socket: RawSocket, pattern: str) -> None:
    while (await socket.message())["channel"] != pattern:
        pass


async def first_of(socket: RawSocket, channel: str) -> tuple[str, int]:
    """The first publication that comes, and its offset."""
    while (message := await socket.message())["type"] != "notification":
        assert message["channel"] == channel
    return message["message"], message["offset"]


async def publish(node: Server, channel: str) -> None:
    answer = await request(node.port, "POST", f"/notify/{channel}", body=b"first")
    assert answer.status == 200, answer


async def test_channel_that_is_announced_and_still_empty_comes_to_who_joins_its_pattern_then(
    two: tuple[Server, Server],
) -> None:
    producing, listening = two
    births = SlowBirths(producing)
    async with raw_socket(listening.port, "/ws?channel=later:*") as other:
        await joined(other, "later:*")
        publishing = asyncio.create_task(publish(producing, "born:1"))
        await births.announced.wait()
        # Births are told in order: when this one is, that one has been, and nobody wanted it.
        await publish(listening, "later:1")
        assert await first_of(other, "later:1") == ("first", 1)
        async with raw_socket(listening.port, "/ws?channel=born:*") as socket:
            await joined(socket, "born:*")
            births.go_on.set()
            await publishing
            assert await first_of(socket, "born:1") == ("first", 1)
