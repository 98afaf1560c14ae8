"""What goes wrong with a Redis, and what of it must not spread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import RedisClusterException

from notifier.brokers.base import Idempotency
from notifier.brokers.redis import doorbell, doorbells, receptions
from notifier.brokers.redis.broker import RedisBroker
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import BrokerUnavailable
from notifier.notification import Draft
from notifier.wire.resume import All
from tests.brokers.contract import Listener
from tests.brokers.test_redis import broker_at
from tests.redisservers.cluster import Cluster
from tests.redisservers.server import RedisServer

NAMESPACES = Namespaces(Namespace(history_size=100), {"live": Namespace(history_size=0)})
PATIENCE = 20.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (of servers there is no event)
            await asyncio.sleep(0.01)


def draft(channel: str, id: str = "n") -> Draft:
    return Draft(channel, id, 1000, b'"message":"x"')


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[RedisBroker]:
    options: dict[str, Any] = {"idempotency_ttl": 60.0, "now_ms": lambda: 1000, "timeout": 1.0}
    broker = broker_at(url, NAMESPACES, **options | more)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture
def faults(io_loop: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler was told."""
    told: list[dict[str, Any]] = []
    io_loop.asyncio_loop.set_exception_handler(lambda loop, context: told.append(context))
    return told


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (doorbell, doorbells):
        monkeypatch.setattr(room, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(receptions, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(receptions, "RETRY_FAULTY_SECONDS", 0.2)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """One of the test's own."""
    with RedisServer() as server:
        yield server


# --- what must not die ---


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("error", [RedisClusterException("no slots"), KeyError(7)])
async def test_looking_where_redis_is_goes_on_whatever_happens(
    redis_server: RedisServer,
    error: Exception,
    faults: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(redis_server.url) as broker:

        async def look() -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(broker._topology, "look", look)
            await until(lambda: broker.trouble is not None)
            assert faults[0]["exception"] is error
        await until(lambda: broker.trouble is None)


async def test_cluster_that_nobody_serves_is_trouble(redis_server: RedisServer) -> None:
    url = redis_server.url.replace("redis:", "redis+cluster:")
    async with opened(url) as broker:
        assert broker.trouble is not None
        with pytest.raises(BrokerUnavailable):
            await broker._commands.one(Call("GET", args=("a",)))


@pytest.mark.usefixtures("hurried")
async def test_cluster_is_found_that_was_not_formed_yet_and_that_is_formed_anew() -> None:
    clustered = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf"}
    with RedisServer(options=clustered) as server:
        url = server.url.replace("redis:", "redis+cluster:")
        async with opened(url) as broker:
            for _ in range(2):
                await until(lambda: broker.trouble is not None)
                server.cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
                await until(lambda: broker.trouble is None)
                listener = Listener()
                await broker.subscribe("a", listener)
                receipt = await broker.publish(draft("a"))
                await listener.has([receipt.id])
                await broker.unsubscribe("a", listener)
                server.cli("FLUSHALL")
                server.cli("CLUSTER", "RESET", "HARD")


async def test_slots_that_are_served_by_nobody_are_no_surprise(redis_cluster: Cluster) -> None:
    async with opened(redis_cluster.url) as broker:
        commands = broker._commands
        slots = broker._topology.client.nodes_manager.slots_cache
        home = {name: commands.shard_of(name) for name in map(str, range(100))}
        here, gone = "0", next(name for name in home if home[name] != home["0"])
        del slots[redis_cluster.slot(gone)]
        with pytest.raises(BrokerUnavailable):
            await commands.one(Call("EXISTS", args=(gone,)))
        calls = [Call("EXISTS", args=(name,)) for name in (gone, here, gone)]
        one, two, three = await commands.run(calls)
        assert isinstance(one, BrokerUnavailable)
        assert two == 0
        assert isinstance(three, BrokerUnavailable)


@pytest.mark.usefixtures("hurried")
async def test_refusal_of_redis_is_trouble_with_its_reason_and_ends(
    redis: RedisServer, faults: list[dict[str, Any]]
) -> None:
    redis.cli("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all")
    async with opened(redis.url.replace("//", "//u:p@")) as broker:
        assert broker.trouble is None
        redis.cli("ACL", "SETUSER", "u", "resetchannels", "&nothing")
        await until(lambda: "can't publish" in (broker.trouble or ""))
        with pytest.raises(BrokerUnavailable):
            await broker.publish(draft("a"))
        redis.cli("ACL", "SETUSER", "u", "&*")
        await until(lambda: broker.trouble is None)
        redis.cli("ACL", "SETUSER", "u", "-evalsha")
        await until(lambda: "evalsha" in (broker.trouble or ""))
        redis.cli("ACL", "SETUSER", "u", "+evalsha")
        await until(lambda: broker.trouble is None)
    assert faults == []


@pytest.mark.usefixtures("hurried")
async def test_what_only_one_doorbell_is_refused_is_trouble(
    redis: RedisServer, faults: list[dict[str, Any]]
) -> None:
    redis.cli("ACL", "SETUSER", "u", "on", ">p", "~*", "&*:probe:*", "&*:bell", "+@all")
    async with opened(redis.url.replace("//", "//u:p@")) as broker:
        assert broker.trouble is None
        with pytest.raises(BrokerUnavailable):
            await broker.follow(Pattern.parse("live:*"))
        with pytest.raises(BrokerUnavailable):
            await broker.subscribe("live:a", Listener())
        assert broker.trouble is None, "nobody wants it any more"
        joining = asyncio.create_task(broker.subscribe("live:a", Listener()))
        await until(lambda: "permission" in (broker.trouble or ""))
        redis.cli("ACL", "SETUSER", "u", "&*")
        await joining
        assert broker.trouble is None


async def test_doorbell_that_is_never_confirmed_is_trouble(redis_server: RedisServer) -> None:
    async with opened(redis_server.url, timeout=0.3) as broker:
        (bell,) = broker._doorbells._doorbells.values()
        assert bell._link is not None
        bell._link.subscribe = lambda verb, name: None  # type: ignore[method-assign]
        joining = asyncio.create_task(broker.subscribe("live:a", Listener()))
        broker._doorbells.listen("unheard", broker._ephemeral._by_name)
        with pytest.raises(BrokerUnavailable):
            await joining
        await until(lambda: "confirm" in (broker.trouble or ""))


@pytest.mark.usefixtures("hurried")
async def test_fault_of_ours_does_not_end_a_doorbell(
    redis_server: RedisServer, faults: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(redis_server.url) as broker:

        async def one(call: Call) -> Any:
            raise KeyError(7)

        with monkeypatch.context() as patch:
            patch.setattr(broker._commands, "one", one)
            await until(lambda: broker.trouble is not None)
        await until(lambda: broker.trouble is None)
        assert isinstance(faults[0]["exception"], KeyError)


# --- what must not spread ---


@pytest.mark.usefixtures("hurried")
async def test_channel_whose_log_is_something_else_holds_up_no_other(
    redis_server: RedisServer, faults: list[dict[str, Any]]
) -> None:
    async with opened(redis_server.url) as broker:
        log = broker._names.log("bad")
        redis_server.cli("SET", log, "x")
        refused = asyncio.create_task(broker.subscribe("bad", bad := Listener()))
        good = [Listener() for _ in range(100)]
        await asyncio.gather(*(broker.subscribe(f"g{n}", each) for n, each in enumerate(good)))
        with pytest.raises(BrokerUnavailable):
            await refused
        assert len(faults) == 1
        assert "bad" in faults[0]["message"]
        redis_server.cli("DEL", log)
        await broker.subscribe("bad", bad)


@pytest.mark.usefixtures("hurried")
async def test_shard_that_is_away_holds_up_no_other() -> None:
    options = {"cluster-require-full-coverage": "no"}
    with Cluster(node_timeout_ms=60_000, options=options) as cluster:
        async with opened(cluster.url, timeout=2.0) as broker:
            home = {
                f"c{n}": broker._commands.shard_of(broker._names.log(f"c{n}")) for n in range(600)
            }
            away = home["c0"]
            others = [name for name, shard in home.items() if shard != away]
            for name in home:
                await broker.subscribe(name, Listener())
            server = next(s for s in cluster.servers if away.endswith(f":{s.port}"))
            server.pause()
            try:
                for name in home:
                    broker._receptions._receptions[name].spoil()
                loop = asyncio.get_running_loop()
                begun = loop.time()
                for name in others:
                    await broker._receptions._receptions[name].fresh.wait()
                reads = (broker.history(name, All(), 10) for name in home)
                told = await asyncio.gather(*reads, return_exceptions=True)
                fine = {
                    name
                    for name, one in zip(home, told, strict=True)
                    if not isinstance(one, Exception)
                }
                assert fine == set(others)
                assert loop.time() - begun < 6.0
            finally:
                server.resume()
            for name in home:
                await broker._receptions._receptions[name].fresh.wait()


@pytest.mark.parametrize("where", ["single", "cluster"])
async def test_any_number_reads_at_once(
    where: str, redis_server: RedisServer, redis_cluster: Cluster
) -> None:
    url = redis_server.url if where == "single" else redis_cluster.url
    async with opened(url, timeout=5.0) as broker:
        for n in range(20):
            await broker.publish(draft(f"c{n}", f"n{n}"))
        reads = (broker.history(f"c{n % 20}", All(), 10) for n in range(1000))
        told = await asyncio.gather(*reads)
        assert [one.publications[0].id for one in told] == [f"n{n % 20}" for n in range(1000)]
        assert broker.trouble is None


async def test_who_reads_no_more_takes_nothing_from_the_others(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as broker:
        reads = [asyncio.create_task(broker.channel(f"c{n}")) for n in range(300)]
        await asyncio.sleep(0)
        for each in reads[::2]:
            each.cancel()
        told = await asyncio.gather(*reads, return_exceptions=True)
        assert told[1::2] == [None] * 150


@pytest.mark.parametrize("where", ["single", "cluster"])
async def test_redis_that_forgets_scripts_is_taught_in_order(where: str) -> None:
    with RedisServer() if where == "single" else Cluster() as redis:
        servers = redis.servers if isinstance(redis, Cluster) else [redis]
        async with opened(redis.url, timeout=5.0) as broker:
            for round in range(3):
                for server in servers:
                    server.cli("SCRIPT", "FLUSH")
                many = [broker.publish(draft("a", f"{round}.{n}")) for n in range(20)]
                other = [broker.publish(draft(f"b{n}", f"{round}.{n}")) for n in range(20)]
                await asyncio.gather(*many, *other)
            shown = await broker.history("a", All(), 100)
            assert [p.id for p in shown.publications] == [
                f"{round}.{n}" for round in range(3) for n in range(20)
            ]
        assert not any("cmdstat_eval:" in server.cli("INFO", "commandstats") for server in servers)


# --- what is strange ---


async def test_strange_message_is_passed_over(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(redis_server.url) as broker:
        await broker.subscribe("a", a := Listener())
        await broker.subscribe("live:a", live := Listener())
        (bell,) = broker._doorbells._doorbells.values()
        link = bell._link
        names = broker._names
        for name in (names.bell("a"), names.live_bell("live:a")):
            for strange in ("p", "p x y", "p e notanumber\nx", "c", "", "\n", "\xff", "{}"):
                redis_server.cli("PUBLISH", name, strange)
        await broker.publish(draft("a", "one"))
        await broker.publish(draft("live:a", "one"))
        await a.has(["one"])
        await live.has(["one"])
        assert bell._link is link
        said = [record for record in caplog.records if record.message == "redis.strange_message"]
        assert len(said) == 2


@pytest.mark.parametrize("where", ["single", "cluster"])
async def test_ephemeral_publications_come_in_order_with_and_without_a_key(
    where: str, redis_server: RedisServer, redis_cluster: Cluster
) -> None:
    url = redis_server.url if where == "single" else redis_cluster.url
    async with opened(url) as broker:
        for channel in ("live:a", "live:b", "live:c", "live:d"):
            await broker.subscribe(channel, heard := Listener())
            put: list[Awaitable[Any]] = [
                broker.publish(draft(channel, str(n)), Idempotency(str(n), b"x") if n % 2 else None)
                for n in range(100)
            ]
            await asyncio.gather(*put)
            await heard.has([str(n) for n in range(100)])


async def test_ephemeral_publications_go_by_the_shard_of_their_channel(
    redis_cluster: Cluster,
) -> None:
    def published(server: RedisServer) -> int:
        lines = server.cli("INFO", "commandstats").splitlines()
        found = [line for line in lines if line.startswith("cmdstat_publish:calls=")]
        return int(found[0].partition("=")[2].partition(",")[0]) if found else 0

    async with opened(redis_cluster.url) as broker:
        for n in range(6):
            key = broker._names.key(f"live:{n}", "k")
            server = redis_cluster.owner(redis_cluster.slot(key))
            before = published(server)
            await broker.publish(draft(f"live:{n}"))
            await broker.publish(draft(f"live:{n}", "k"), Idempotency("k", b"x"))
            assert published(server) == before + 2


async def test_who_gives_up_joining_takes_it_from_nobody(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as broker:
        two = Listener()
        first = asyncio.create_task(broker.subscribe("live:a", Listener()))
        second = asyncio.create_task(broker.subscribe("live:a", two))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await broker.publish(draft("live:a", "one"))
        await two.has(["one"])


async def test_only_the_last_confirmation_counts(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as broker:
        bells = broker._doorbells
        ear = broker._ephemeral._by_name
        (bell,) = bells._doorbells.values()
        assert bell._link is not None
        counted: list[int] = []
        tell = bell._link._on_confirmed

        def confirmed(name: bytes) -> None:
            assert bell._link is not None
            counted.append(bell._link._unanswered[name])
            tell(name)

        bell._link._on_confirmed = confirmed
        bells.listen("x", ear)
        bells.ignore("x")
        listening = bells.listen("x", ear)
        assert bells.listen("x", ear) is listening, "it listens already"
        await asyncio.wait_for(asyncio.shield(listening.confirmed), PATIENCE)
        assert counted == [0]


# --- names ---


def test_no_channel_has_the_name_of_something_else() -> None:
    names = Names("p", NAMESPACES)
    for channel in ("channels", "nodes", "probe1", "n"):
        own = {names.log(channel), names.stream(channel), names.bell(channel), names.here(channel)}
        others = {names.channels, names.births, names.births_bell, names.living, names.states}
        others |= {names.orders_bell, names.followed("n"), names.answers_bell("n")}
        others |= {names.probe("$probe1", "n"), names.probe("$n", "n")}
        assert not own & others
        assert all(f"{{{channel}}}" not in other for other in others)
    assert names.live_channel(names.live_bell("live:a").encode()) == "live:a"


def test_what_rings_says_in_which_database() -> None:
    one, two = Names("p", NAMESPACES), Names("p", NAMESPACES, 2)

    def bells(names: Names) -> list[str]:
        return [
            names.bell("a"),
            names.here("a"),
            names.live_bell("a"),
            names.live_pattern(""),
            names.births_bell,
            names.orders_bell,
            names.answers_bell("n"),
            names.probe("$n", "n"),
        ]

    assert not set(bells(one)) & set(bells(two))


@pytest.mark.parametrize("channel", ["channels", "nodes", "probe1"])
async def test_channel_may_be_called_anything(channel: str, redis_cluster: Cluster) -> None:
    async with opened(redis_cluster.url) as broker:
        await broker.subscribe(channel, heard := Listener())
        await broker.publish(draft(channel, "one"))
        await broker.publish(draft("other", "two"))
        await heard.has(["one"])
        found = await broker.channels(Pattern.parse("*"), "", 10)
        assert sorted(state.channel for state in found) == sorted([channel, "other"])


async def test_births_are_known_from_a_moment_on(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as broker:
        await broker._births.begin(PATIENCE)
        assert broker._births._last is not None
    async with opened("redis://127.0.0.1:1") as broker:
        with pytest.raises(BrokerUnavailable):
            await broker._births.begin(0.1)


async def test_services_in_two_databases_do_not_hear_each_other(redis_server: RedisServer) -> None:
    async with opened(redis_server.url, prefix="same") as one:
        async with opened(f"{redis_server.url}/2", prefix="same") as two:
            heard = [Listener(), Listener(), Listener(), Listener()]
            await one.subscribe("a", heard[0])
            await two.subscribe("a", heard[1])
            await one.subscribe("live:a", heard[2])
            await two.subscribe("live:a", heard[3])
            for broker, id in ((one, "one"), (two, "two")):
                await broker.publish(draft("a", id))
                await broker.publish(draft("live:a", id))
            for listener, id in zip(heard, ("one", "two", "one", "two"), strict=True):
                await listener.has([id])
