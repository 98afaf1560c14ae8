"""``examples/compose/redis.conf``: a Redis that is full refuses, and forgets nothing."""

from __future__ import annotations

import asyncio

import pytest

from tests.compose.programs import FILES
from tests.handlers.serving import stored_in
from tests.processes import Process, server_process
from tests.redisservers.server import RedisServer


async def publish(node: Process, message: str) -> int:
    answer = await node.post("/notify", {"channel": "alerts", "message": message})
    return answer.status if answer.status == 200 else answer.code


@pytest.mark.gen_test(timeout=60)
async def test_a_full_redis_refuses_what_is_new_and_keeps_what_it_has() -> None:
    configured = {"include": str(FILES / "redis.conf")}
    with (
        RedisServer(options=configured) as redis,
        server_process("--broker", redis.url, "--redis-timeout", "300ms") as node,
    ):
        while await node.not_ready() is not None:  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.02)
        assert await publish(node, "kept") == 200
        redis.cli("CONFIG", "SET", "maxmemory", "1mb")
        assert await publish(node, "refused") == 50301
        # It is not the node's fault, and others would do no better.
        assert await node.not_ready() is None
        assert [one["message"] for one in await stored_in(node.port, "alerts")] == ["kept"]
        redis.cli("CONFIG", "SET", "maxmemory", "1gb")
        assert await publish(node, "there is room") == 200
    assert "appendonly yes" in (FILES / "redis.conf").read_text("utf-8")
