"""What the scripts do to a log: when it is large, when it is old, when Redis is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from notifier.brokers.redis.broker import RedisBroker
from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.topology import topology_of
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.config.redisurl import RedisURL
from notifier.errors import BrokerUnavailable
from notifier.wire.resume import After, All, Last, Time
from tests.brokers.contract import Bench, Clock, Listener, offsets_of, place
from tests.brokers.test_redis import broker_at
from tests.redisservers.server import RedisServer

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NAMESPACES = Namespaces(Namespace(history_size=100_000, history_ttl=3600.0))


@pytest.fixture
async def bench(redis_server: RedisServer) -> AsyncIterator[Bench]:
    clock = Clock()
    broker = broker_at(redis_server.url, NAMESPACES, idempotency_ttl=60.0, now_ms=clock)
    await broker.open()
    yield Bench(broker, clock)
    await broker.close()


def keys_of(bench: Bench, client: Any, channel: str) -> dict[str, str]:
    """By their last part."""
    assert isinstance(bench.broker, RedisBroker)
    prefix = bench.broker._names._prefix
    found = client.keys(f"{prefix}:{{{channel}}}:*")
    return {key.decode().rpartition(":")[2]: key.decode() for key in found}


async def test_channel_is_forgotten_though_it_is_looked_at(
    bench: Bench, redis_server: RedisServer
) -> None:
    await bench.publish()
    client = redis.Redis.from_url(redis_server.url)
    log = keys_of(bench, client, "a")["log"]
    bench.clock.ms += 40 * DAY_MS
    client.pexpire(log, 60_000)
    for _ in range(3):
        assert await bench.broker.channel("a") is not None
        assert await bench.names() == ["a"]
    assert client.pttl(log) <= 60_000
    client.close()


async def test_deleting_that_is_sent_twice_deletes_once(redis_server: RedisServer) -> None:
    clock = Clock()
    topology = topology_of(RedisURL.parse(redis_server.url), 5.0)
    commands = Commands(topology, 5.0)
    names = Names(f"twice{id(clock)}", NAMESPACES)
    broker = broker_at(
        redis_server.url, NAMESPACES, prefix=names._prefix, idempotency_ttl=60.0, now_ms=clock
    )
    await broker.open()
    bench = Bench(broker, clock)
    calls = Calls(
        names,
        NAMESPACES,
        publish="PUBLISH",
        patience=5.0,
        idempotency_ttl=60.0,
        max_channels=10,
        now_ms=clock,
    )
    await bench.publish()
    await bench.publish()
    clear = calls.clear("a")
    assert await commands.one(clear) == 2
    await bench.publish()
    assert await commands.one(clear) == 2
    assert await bench.offsets() == [3]
    await broker.close()
    await topology.close()


async def test_long_history_is_walked_without_holding_up_redis(bench: Bench) -> None:
    # Enough for a walk entry by entry to be seen; not timed, but bounded by redis_timeout.
    for _ in range(40):
        await asyncio.gather(*(bench.publish(body=b"x") for _ in range(250)))
        bench.clock.ms += 1000
    start = bench.clock.ms
    page = await bench.history(Time(start - 10_000), limit=10)
    assert offsets_of(page.publications) == list(range(7501, 7511))
    page = await bench.history(Last(9000), limit=10)
    assert (page.gap, offsets_of(page.publications)) == (None, list(range(1001, 1011)))
    began = time.monotonic()
    bench.clock.ms += 2 * HOUR_MS
    page = await bench.history(All())
    assert (list(page.publications), page.gap) == ([], None)
    assert (await bench.history(After(page.head or place(await bench.publish())))).gap is None
    assert time.monotonic() - began < 5.0


async def test_what_expires_by_itself_is_a_hole_wherever_it_is(bench: Bench) -> None:
    for n in range(1, 301):
        await bench.publish(expires_in_ms=n * 10 if n % 3 == 0 else None)
    bench.clock.ms += 1500
    offsets = [n for n in range(1, 301) if n % 3 or n > 150]
    assert await bench.offsets() == offsets
    page = await bench.history(Last(120))
    assert offsets_of(page.publications) == offsets[-120:]
    bench.clock.ms += 1500
    state = await bench.broker.channel("a")
    assert state is not None and state.publications == 200


async def test_full_redis_can_be_read_and_heals() -> None:
    with RedisServer() as server:
        clock = Clock()
        broker = broker_at(server.url, NAMESPACES, timeout=1.0, idempotency_ttl=60.0, now_ms=clock)
        await broker.open()
        bench = Bench(broker, clock)
        for _ in range(3):
            await bench.publish(expires_in_ms=2 * HOUR_MS)
        server.cli("CONFIG", "SET", "maxmemory", "1kb")
        clock.ms += HOUR_MS // 2
        clock.ms += HOUR_MS // 2 - 1
        assert await bench.offsets() == [1, 2, 3]
        with pytest.raises(BrokerUnavailable):
            await bench.publish()
        assert [state.publications for state in await broker.channels(Pattern.parse("*"), "", 9)]
        listener = Listener()
        await broker.subscribe("a", listener)
        server.cli("CONFIG", "SET", "maxmemory", "0")
        receipt = await bench.publish()
        await listener.has([receipt.id])
        await broker.close()


async def test_log_that_somebody_trimmed_ends_no_script(
    bench: Bench, redis_server: RedisServer
) -> None:
    for _ in range(5):
        await bench.publish()
    client = redis.Redis.from_url(redis_server.url)
    client.xtrim(keys_of(bench, client, "a")["stream"], maxlen=2)
    bench.clock.ms += 2 * HOUR_MS
    assert await bench.offsets() == []
    await bench.publish()
    assert await bench.offsets() == [6]
    client.close()


async def test_channel_that_many_publish_to_at_once_is_born_once(
    bench: Bench, redis_server: RedisServer
) -> None:
    receipts = await asyncio.gather(*(bench.publish() for _ in range(200)))
    assert [place(receipt).offset for receipt in receipts] == list(range(1, 201))
    client = redis.Redis.from_url(redis_server.url)
    assert isinstance(bench.broker, RedisBroker)
    assert client.xlen(bench.broker._names.births) == 1
    client.close()
