"""The broker before a Redis that does more, or less, than the contract asks about."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from notifier.brokers.redis.broker import SWEEP_SECONDS, RedisBroker
from notifier.brokers.redis.doorbell import PROBE_SECONDS
from notifier.channels import Pattern
from notifier.errors import BrokerUnavailable, TooManyChannels
from notifier.notification import Draft, Gap, Position
from notifier.wire.resume import All
from tests.brokers.contract import NAMESPACES, PATIENCE_SECONDS, SIZE, Clock, Listener, Midwife
from tests.brokers.test_redis import broker_at
from tests.faults import FaultProxy
from tests.redisservers.server import CERTIFICATE, RedisServer

PREFIXES = (f"parts{os.getpid()}.{n}" for n in itertools.count())
Brokers = Callable[..., Awaitable[RedisBroker]]


@pytest.fixture
async def brokers() -> AsyncIterator[Brokers]:
    """Opens brokers, and closes them in the end."""
    opened: list[RedisBroker] = []

    async def open(url: str, **options: Any) -> RedisBroker:
        defaults = {"idempotency_ttl": 30.0, "now_ms": Clock(), "prefix": next(PREFIXES)}
        opened.append(broker_at(url, NAMESPACES, **defaults | options))
        await opened[-1].open()
        return opened[-1]

    yield open
    for broker in opened:
        await broker.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody is told of."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


ids = map("n{}".format, itertools.count())


async def publish(broker: RedisBroker, channel: str = "a", *, expires_ms: int | None = None) -> str:
    draft = Draft(channel, next(ids), Clock().ms, b'"message":"x"', None, expires_ms)
    return (await broker.publish(draft)).id


# --- reaching it ---


async def reaches(broker: RedisBroker) -> None:
    """It writes and hears."""
    assert broker.trouble is None
    listener = Listener()
    await broker.subscribe("a", listener)
    await listener.has([await publish(broker)])


async def test_redis_is_reached_by_unix_socket_and_with_tls(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    await reaches(await brokers(redis_server.unix_url))
    await reaches(await brokers(f"{redis_server.tls_url}?ssl_ca_certs={CERTIFICATE}"))


async def test_certificate_of_nobody_we_trust_is_trouble(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    broker = await brokers(redis_server.tls_url, timeout=2.0)
    await until(lambda: "certificate" in (broker.trouble or "").lower())
    with pytest.raises(BrokerUnavailable):
        await publish(broker)


async def test_password_and_user_are_asked_for_and_wrong_ones_are_said_to_be(
    brokers: Brokers,
) -> None:
    with RedisServer() as server:
        server.cli("ACL", "SETUSER", "app", "on", ">s/3", "~*", "&*", "+@all")
        server.cli("ACL", "SETUSER", "open", "on", "nopass", "~*", "&*", "+@all")
        server.cli("ACL", "SETUSER", "deaf", "on", ">s", "~*", "resetchannels", "+@all")
        server.cli("ACL", "SETUSER", "dumb", "on", ">s", "~*", "&*", "+@all", "-eval", "-evalsha")
        server.cli("ACL", "SETUSER", "default", "off")
        port = server.port
        await reaches(await brokers(f"redis://app:s%2F3@127.0.0.1:{port}"))
        await reaches(await brokers(f"redis://open@127.0.0.1:{port}"))
        for login, heard, written in (
            ("app:wrong@", "WRONGPASS", "user or password"),
            ("", "NOAUTH", "user or password"),
            ("dumb:s@", "permission", "permission"),
            ("deaf:s@", "channel", "channel"),
        ):
            broker = await brokers(f"redis://{login}127.0.0.1:{port}", timeout=1.0)
            await until(lambda broker=broker, heard=heard: heard in broker.trouble)  # type: ignore[misc]
            with pytest.raises(BrokerUnavailable, match=written):
                await publish(broker)


async def test_requirepass_alone_needs_no_user(brokers: Brokers) -> None:
    with RedisServer() as server:
        server.cli("CONFIG", "SET", "requirepass", "secret")
        await reaches(await brokers(f"redis://:secret@127.0.0.1:{server.port}"))
        wrong = await brokers(f"redis://:wrong@127.0.0.1:{server.port}", timeout=1.0)
        await until(lambda: "WRONGPASS" in (wrong.trouble or ""))


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
async def test_server_that_is_no_redis_is_trouble(brokers: Brokers, scheme: str) -> None:
    async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak_http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = "/main" if scheme == "redis+sentinel" else ""
    broker = await brokers(f"{scheme}://127.0.0.1:{port}{path}", timeout=1.0)
    assert broker.trouble is not None
    if scheme != "redis+cluster":
        with pytest.raises(BrokerUnavailable):
            await publish(broker)
        with pytest.raises(BrokerUnavailable):
            await broker.subscribe("a", Listener())
    server.close()
    await server.wait_closed()


async def test_cluster_that_is_away_at_first_is_found_when_it_is_there(
    brokers: Brokers, redis_cluster: Any
) -> None:
    host, _, port = redis_cluster.url.rpartition("/")[2].partition(",")[0].rpartition(":")
    with FaultProxy(int(port)) as proxy:
        proxy.refuse()
        broker = await brokers(f"redis+cluster://{host}:{proxy.port}", timeout=1.0)
        assert broker.trouble is not None
        with pytest.raises(BrokerUnavailable):
            await publish(broker)
        with pytest.raises(BrokerUnavailable):
            await broker.history("a", All(), 1)
        proxy.accept()
        await until(lambda: broker.trouble is None)
        await reaches(broker)


async def test_connection_on_which_nothing_passes_is_trouble_and_heals(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    with FaultProxy(redis_server.port) as proxy:
        prefix, timeout = next(PREFIXES), 0.5
        broker = await brokers(f"redis://127.0.0.1:{proxy.port}", timeout=timeout, prefix=prefix)
        other = await brokers(redis_server.url, prefix=prefix)
        listener = Listener()
        await broker.subscribe("a", listener)
        await listener.has([first := await publish(other)])
        clock = asyncio.get_running_loop().time
        began = clock()
        proxy.stall()
        await until(lambda: broker.trouble is not None)
        # A busy machine's share is added; it is seconds, and not the minutes that TCP takes.
        assert clock() - began < PROBE_SECONDS + 2 * timeout + 5.0
        missed = await publish(other)
        with pytest.raises(BrokerUnavailable):
            await publish(broker)
        proxy.flow()
        await until(lambda: broker.trouble is None)
        await listener.has([first, missed])


# --- what Redis can't do just now ---


async def test_full_redis_refuses_and_heals(brokers: Brokers) -> None:
    with RedisServer() as server:
        broker = await brokers(server.url, timeout=1.0)
        listener = Listener()
        await broker.subscribe("a", listener)
        first = await publish(broker)
        server.cli("CONFIG", "SET", "maxmemory", "1mb")
        server.cli("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            await publish(broker)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            await publish(broker, "unborn")
        server.cli("CONFIG", "SET", "maxmemory", "0")
        second = await publish(broker)
        await listener.has([first, second])
        await until(lambda: broker.trouble is None)


async def test_replica_refuses_and_heals(brokers: Brokers) -> None:
    with RedisServer() as server:
        broker = await brokers(server.url, timeout=1.0)
        listener = Listener()
        await broker.subscribe("a", listener)
        first = await publish(broker)
        server.cli("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(BrokerUnavailable, match="read only"):
            await publish(broker)
        server.cli("REPLICAOF", "NO", "ONE")
        await until(lambda: broker.trouble is None)
        second = await publish(broker)
        await listener.has([first, second])


async def test_scripts_that_were_flushed_are_sent_again(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    broker = await brokers(redis_server.url)
    listener = Listener()
    await broker.subscribe("a", listener)
    due = [await publish(broker)]
    redis_server.cli("SCRIPT", "FLUSH")
    due += await asyncio.gather(*(publish(broker) for _ in range(3)))
    await listener.has(due)
    redis_server.cli("SCRIPT", "FLUSH")
    page = await broker.history("a", All(), 10)
    assert [publication.id for publication in page.publications] == due[-SIZE:]


async def test_one_channel_too_many_is_refused_and_the_others_go_on(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix = next(PREFIXES)
    one = await brokers(redis_server.url, prefix=prefix, max_channels=2)
    two = await brokers(redis_server.url, prefix=prefix, max_channels=2)
    await publish(one, "a")
    await publish(two, "b")
    for broker in (one, two):
        with pytest.raises(TooManyChannels):
            await publish(broker, "c")
        await publish(broker, "a")
        await publish(broker, "live:d")
    assert [state.channel for state in await one.channels(Pattern.parse("*"), "", 10)] == ["a", "b"]


async def test_evicted_stream_is_a_gap_to_who_listens_and_to_who_comes_back(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix = next(PREFIXES)
    clock = Clock()
    broker = await brokers(redis_server.url, prefix=prefix, clock=lambda: clock.ms / 1000)
    listener = Listener()
    await broker.subscribe("a", listener)
    await listener.has([await publish(broker)])
    head = (await broker.history("a", All(), 1)).head
    assert head is not None
    name = f"{prefix}:{{a}}"
    # As if the node had not heard it.
    redis_server.cli("HINCRBY", f"{name}:log", "head", 2)
    redis_server.cli("HINCRBY", f"{name}:log", "count", 2)
    redis_server.cli("DEL", f"{name}:stream")
    published = await publish(broker)
    place = Position(head.epoch, 4)
    stored = (await broker.history("a", All(), 1)).publications
    gap = Gap("a", head, place)
    await listener.hears([Position(head.epoch, 0), *listener.heard[1:2], gap, *stored])
    assert listener.ids[-1] == published
    page = await broker.history("a", All(), 10)
    assert (page.start, [p.id for p in page.publications]) == (Position(head.epoch, 3), [published])


# --- two nodes ---


async def test_what_one_node_publishes_another_hears_with_its_births(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix = next(PREFIXES)
    one, two = [await brokers(redis_server.url, prefix=prefix, node=node) for node in "12"]
    midwives = [Midwife({"a": Listener()}), Midwife({"a": Listener()})]
    for broker, midwife in zip((one, two), midwives, strict=True):
        broker.watch(midwife)
    due = [await publish(broker, "a") for broker in (one, two, one)]
    await publish(two, "b")
    for midwife in midwives:
        await midwife.answers["a"].has(due)
        heads = [item for item in midwife.answers["a"].heard if isinstance(item, Position)]
        assert [head.offset for head in heads] == [0]
        await until(lambda midwife=midwife: len(midwife.births) == 2)  # type: ignore[misc]
        assert [channel for channel, _ in midwife.births] == ["a", "b"]


async def test_ephemeral_publications_are_heard_once_while_patterns_come_and_go(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix = next(PREFIXES)
    one, two = [await brokers(redis_server.url, prefix=prefix, node=node) for node in "12"]
    by_name, by_pattern = Listener(), Listener()
    midwife = Midwife({"live:a": by_name, "live:b": by_pattern})
    two.watch(midwife)
    await two.subscribe("live:a", by_name)
    pattern = Pattern.parse("live:*")
    due = [await publish(one, "live:a")]
    await two.follow(pattern)
    due.append(await publish(one, "live:a"))
    first = await publish(one, "live:b")
    await by_pattern.has([first])
    await two.subscribe("live:b", by_pattern)
    second = await publish(one, "live:b")
    await by_pattern.has([first, second])
    await by_name.has(due)
    two.unfollow(pattern)
    due.append(await publish(one, "live:a"))
    third = await publish(one, "live:b")
    await by_pattern.has([first, second, third])
    await by_name.has(due)
    assert midwife.births == [("live:b", None)]


async def test_services_with_other_prefixes_hear_and_list_nothing_of_each_other(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    one, two = await brokers(redis_server.url), await brokers(redis_server.url)
    listeners = [Listener(), Listener(), Listener()]
    midwife = Midwife()
    two.watch(midwife)
    await two.follow(Pattern.parse("*"))
    for channel, listener in zip(("a", "live:a", "b"), listeners, strict=True):
        await two.subscribe(channel, listener)
        await publish(one, channel)
    due = [await publish(two, channel) for channel in ("a", "live:a", "b")]
    for id, listener in zip(due, listeners, strict=True):
        await listener.has([id])
    await publish(one, "c")
    await publish(two, "d")
    await until(lambda: [channel for channel, _ in midwife.births][-1:] == ["d"])
    assert {channel for channel, _ in midwife.births} <= {"a", "b", "d"}
    listed = [state.channel for state in await two.channels(Pattern.parse("*"), "", 10)]
    assert listed == ["a", "b", "d"]


# --- housekeeping ---


async def test_channel_is_heard_for_a_while_after_its_last_listener_has_left(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix, clock = next(PREFIXES), Clock()
    broker = await brokers(
        redis_server.url, prefix=prefix, linger=10.0, clock=lambda: clock.ms / 1000
    )
    bell = f"{prefix}:{{a}}:bell"

    def listeners() -> str:
        return redis_server.cli("PUBSUB", "NUMSUB", bell).split()[-1]

    listener = Listener()
    await broker.subscribe("a", listener)
    await broker.unsubscribe("a", listener)
    clock.ms += 9_999
    broker.sweep()
    await reaches_redis(broker)
    assert listeners() == "1"
    await broker.subscribe("a", listener)
    clock.ms += 20_000
    broker.sweep()
    await reaches_redis(broker)
    assert listeners() == "1"
    await broker.unsubscribe("a", listener)
    clock.ms += 10_000
    broker.sweep()
    await until(lambda: listeners() == "0")
    await broker.subscribe("a", listener)
    await listener.has([await publish(broker)])


async def reaches_redis(broker: RedisBroker) -> None:
    """What was asked for over the doorbell's connection has arrived: this comes behind it."""
    listener = Listener()
    await broker.subscribe("live:behind", listener)
    await broker.unsubscribe("live:behind", listener)


async def test_channels_whose_log_is_gone_are_struck_off_and_no_others(
    brokers: Brokers, redis_server: RedisServer
) -> None:
    prefix, clock = next(PREFIXES), Clock()
    broker = await brokers(redis_server.url, prefix=prefix, clock=lambda: clock.ms / 1000)
    for n in range(250):
        await publish(broker, f"c{n:03}")
    await broker.clear("c002")
    gone = [f"c{n:03}" for n in (0, 99, 100, 101, 200, 249)]
    redis_server.cli("DEL", *(f"{prefix}:{{{name}}}:log" for name in gone))

    def listed() -> list[str]:
        return redis_server.cli("ZRANGE", f"{prefix}:{{$channels}}:names", 0, -1).split()

    left = sorted({f"c{n:03}" for n in range(250)} - set(gone))
    for _ in range(3):
        clock.ms += round(1000 * SWEEP_SECONDS)
        broker.sweep()
        await until(lambda: not broker._errands)
    assert listed() == left
    await publish(broker, "c000")
    assert listed() == ["c000", *left]


async def test_five_thousand_channels_miss_nothing_when_their_connection_is_killed(
    brokers: Brokers,
) -> None:
    count = 5000
    with RedisServer() as server:
        prefix = next(PREFIXES)
        options = {"prefix": prefix, "max_channels": 2 * count, "timeout": 30.0}
        one = await brokers(server.url, node="1", **options)
        two = await brokers(server.url, node="2", **options)
        listeners = {f"c{n}": Listener() for n in range(count)}
        await asyncio.gather(*(two.subscribe(name, it) for name, it in listeners.items()))
        busy = [f"c{n}" for n in range(0, count, 10)]
        first = await asyncio.gather(*(publish(one, name) for name in busy))
        server.cli("CLIENT", "KILL", "TYPE", "pubsub")
        second = await asyncio.gather(*(publish(one, name) for name in busy))
        for name, *due in zip(busy, first, second, strict=True):
            await listeners[name].has(due)
        receptions = two._receptions._receptions.values()
        await until(lambda: all(reception.fresh.is_set() for reception in receptions))
        assert {len(listener.heard) for listener in listeners.values()} == {1, 3}
