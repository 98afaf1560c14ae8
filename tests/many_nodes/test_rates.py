"""What a producer may publish to all nodes together."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet
from tests.processes import Process
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)

PER_SECOND = 20
BURST = 2 * PER_SECOND
SETTINGS = (f"--max-publishes-per-second={PER_SECOND}", "--redis-timeout=0.3")


async def flood(*nodes: Process, seconds: float) -> tuple[int, float, Counter[int]]:
    """Publish to one node after the other, as fast as they answer: how many were stored, in how
    many seconds; and answers by status.
    """
    statuses: Counter[int] = Counter()
    began = time.monotonic()
    for node in itertools.cycle(nodes):
        answer = await node.post("/notify/a", {"message": "x"})
        statuses[answer.status] += 1
        if (elapsed := time.monotonic() - began) > seconds:
            return statuses[200], elapsed, statuses
    raise AssertionError("it goes round for ever")


async def test_producer_that_takes_turns_between_nodes_has_one_rate() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 2, settings=SETTINGS) as nodes:
        await nodes.until_ready()
        stored, seconds, statuses = await flood(*nodes.nodes, seconds=8)
    assert statuses.keys() == {200, 429}
    allowed = BURST + PER_SECOND * seconds
    # Each node may be ahead by what it lets through before it hears of the others; two rates
    # would be 400.
    assert 0.8 * allowed < stored < 1.25 * allowed


async def test_without_redis_each_node_limits_by_itself() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 2, settings=SETTINGS) as nodes:
        await nodes.until_ready()
        redis.kill()
        for node in nodes.nodes:
            # Two bursts, let through to a broker that is away: of them one is owed.
            assert await publish(node, 2 * BURST) == 503
            assert await publish(node, 1) == 429
        redis.restart()
        await nodes.until_ready()
        one, two = nodes.nodes
        await until_published(one)
        # Once they hear each other again.
        async with asyncio.timeout(PATIENCE):
            while await publish(two, 1) != 429:
                await publish(one, 2 * BURST)


async def publish(node: Process, count: int) -> int:
    """So many in an array; its status."""
    return (await node.post("/notify", [{"channel": "a", "message": "x"}] * count)).status


async def until_published(node: Process) -> None:
    """Wait until what the producer owes there is paid."""
    async with asyncio.timeout(PATIENCE):
        while await publish(node, 1) == 429:  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.1)
