"""The fleet of nodes that share a Redis, on a real one."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.auth.revocations import AnyRevocation, Revocation, UserRevocation
from notifier.brokers.fleet import Disconnect, DisconnectAll, Fleet
from notifier.brokers.redis import attending, gathering, living, revoking, spending
from notifier.brokers.redis.broker import RedisBroker
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import REVOKE
from notifier.channels import Namespaces
from notifier.config.redisurl import RedisURL
from notifier.connectionstate import Holder
from notifier.errors import BrokerUnavailable, NodesSilent
from tests.brokers.fleet_contract import (
    ALL,
    LATER,
    NAMESPACES,
    PATIENCE_SECONDS,
    FakeCrew,
    FleetContract,
    becomes,
    until,
    view,
)
from tests.redisservers.cluster import Cluster
from tests.redisservers.server import RedisServer

SERIAL = itertools.count()


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node spent is told, however long a busy machine takes for it."""
    monkeypatch.setattr(spending, "LATE_SECONDS", PATIENCE_SECONDS)


class RedisNode:
    """A fleet with the broker that it needs, opened and closed with it."""

    def __init__(self, url: str, namespaces: Namespaces, prefix: str) -> None:
        self.broker = RedisBroker(
            RedisURL.parse(url),
            namespaces,
            node=f"node{next(SERIAL):04}",
            prefix=prefix,
            timeout=3.0,
            linger=10.0,
            wait_replicas=0,
            max_channels=1000,
            max_unwritten_bytes=2**24,
            idempotency_ttl=60.0,
            now_ms=lambda: 1000,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker.fleet, name)

    async def open(self) -> None:
        await self.broker.open()
        await self.broker.fleet.open()

    async def close(self) -> None:
        await self.broker.fleet.close()
        await self.broker.close()

    async def crash(self) -> None:
        """End without a word to anybody."""
        await self.broker.fleet._errands.close()
        await self.broker.close()


class RedisContract(FleetContract):
    """On whichever Redis a subclass says."""

    url: str

    def make(self, count: int, namespaces: Namespaces) -> Sequence[Fleet]:  # type: ignore[override]
        prefix = f"fleet{os.getpid()}.{next(SERIAL)}"
        return [RedisNode(self.url, namespaces, prefix) for _ in range(count)]  # type: ignore[misc]


class TestSingle(RedisContract):
    @pytest.fixture(autouse=True)
    def _on(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url


class TestCluster(RedisContract):
    @pytest.fixture(autouse=True)
    def _on(self, redis_cluster: Cluster) -> None:
        self.url = redis_cluster.url


# --- what goes wrong ---

LIFE = 1.0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of waiting become fractions of them."""
    monkeypatch.setattr(living, "BEAT_SECONDS", LIFE / 5)
    monkeypatch.setattr(living, "LIFE_SECONDS", LIFE)
    monkeypatch.setattr(revoking, "LOOK_SECONDS", 0.1)
    for room in (attending, gathering):
        monkeypatch.setattr(room, "REPEAT_SECONDS", 0.3)
        monkeypatch.setattr(room, "RETRY_SECONDS", 0.1)


class Scene:
    """Some nodes on a Redis of their own."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.prefix = f"t{next(SERIAL)}"
        self.crews: list[FakeCrew] = []

    async def enter(self) -> FakeCrew:
        crew = FakeCrew(RedisNode(self.redis.url, NAMESPACES, self.prefix))  # type: ignore[arg-type]
        await crew.fleet.open()
        self.crews.append(crew)
        return crew

    async def crash(self, crew: FakeCrew) -> None:
        self.crews.remove(crew)
        await crew.fleet.crash()  # type: ignore[attr-defined]

    async def watching(self, crew: FakeCrew, channel: str) -> None:
        """It follows the channel, and knows who else does."""
        crew.join(channel, f"watcher on {crew.fleet.id}")
        crew.fleet.gather(channel)
        await until(lambda: view(crew, channel) is not None)

    def here(self, channel: str) -> str:
        return f"{self.prefix}:{{{channel}}}:here"


@pytest.fixture
async def scene(hurried: None) -> AsyncIterator[Scene]:
    with RedisServer() as redis:
        scene = Scene(redis)
        yield scene
        for crew in scene.crews:
            await crew.fleet.close()


async def test_node_that_crashes_is_dead_in_a_while_with_all_that_it_attended(
    scene: Scene,
) -> None:
    one, two = await scene.enter(), await scene.enter()
    here = one.join("a", "x")
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    await scene.crash(one)
    with pytest.raises(NodesSilent) as refusal:
        await two.fleet.order(Disconnect("c"))
    assert refusal.value.nodes == [one.fleet.id]
    await two.hears(("departed", one.fleet.id))
    assert two.told.count(("departed", one.fleet.id)) == 1
    assert list(await two.fleet.nodes()) == [two.facts()]
    assert list(await two.fleet.attendances(["a"])) == [{}]
    assert list(await two.fleet.followed(ALL, "", 10)) == []
    assert not await two.fleet.order(Disconnect("c")), "nobody waits for the dead"


async def test_what_a_dead_node_left_in_redis_is_swept_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attending, "FORGOTTEN_SECONDS", 0.9)
    one, two = await scene.enter(), await scene.enter()
    one.join("a", "x")
    one.join("b", "x")
    two.join("a", "y")
    await becomes(lambda: two.fleet.followed(ALL, "", 10), ["a", "b"])
    await scene.crash(one)

    def left() -> list[str]:
        fields = scene.redis.cli("HKEYS", scene.here("a")).split("\n")
        keys = scene.redis.cli("KEYS", f"{scene.prefix}:*").split("\n")
        return [line for line in fields + keys if one.fleet.id in line or "{b}" in line]

    await becomes(lambda: asyncio.to_thread(left), [])
    assert two.fleet.id in scene.redis.cli("HKEYS", scene.here("a")), "who repeats it stays"


async def test_node_that_was_only_slow_comes_back_by_itself(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    here = one.join("a", "x")
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    living_of_one = one.fleet.broker.fleet._living  # type: ignore[attr-defined]
    commands = living_of_one._commands
    living_of_one._commands = HeldUp()
    await two.hears(("departed", one.fleet.id))
    assert view(two, "a") == {}
    living_of_one._commands = commands
    await until(lambda: view(two, "a") == {one.fleet.id: here})


class HeldUp:
    """Commands that don't get through."""

    async def one(self, call: object) -> object:
        raise BrokerUnavailable("it is held up")


async def test_redis_that_was_flushed_is_filled_again_and_nobody_leaves(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    here = one.join("a", "x")
    dark = one.join("dark:a", count=3)
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    two.told.clear()
    scene.redis.cli("FLUSHALL")

    async def filled() -> object:
        others = await two.fleet.attendances(["a", "dark:a"])
        return (
            list(others),
            list(await two.fleet.followed(ALL, "", 10)),
            len(await one.fleet.nodes()),
        )

    wanted = ([{one.fleet.id: here}, {one.fleet.id: dark}], ["a", "dark:a"], 2)
    await becomes(filled, wanted)
    later = one.join("a", "x", "y")
    await two.hears(("attended", "a", one.fleet.id, later))
    assert ("departed", one.fleet.id) not in two.told
    gone = [told for told in two.told if told[0] == "attended" and told[-1] is None]
    assert gone == []


async def test_what_is_lost_of_one_channel_is_written_again(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    here = one.join("a", "x")
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    scene.redis.cli("DEL", scene.here("a"), f"{scene.prefix}:{{${one.fleet.id}}}:followed")
    await becomes(lambda: two.fleet.attendances(["a"]), [{one.fleet.id: here}])
    await becomes(lambda: two.fleet.followed(ALL, "", 10), ["a"])


async def test_change_that_was_not_heard_of_is_found_out_at_the_next(scene: Scene) -> None:
    one, two, three = [await scene.enter() for _ in range(3)]
    here = one.join("a", "x")
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    # One that two does not hear: it listens to another channel for the moment.
    doorbells = two.fleet.broker._doorbells  # type: ignore[attr-defined]
    _, listening = doorbells._listening[scene.here("a").encode()]
    doorbells.ignore(scene.here("a"))
    unheard = three.join("a", "unheard")
    await becomes(
        lambda: one.fleet.attendances(["a"]),
        [{two.fleet.id: two.here["a"], three.fleet.id: unheard}],
    )
    roll = listening.ear
    version = roll.version
    roll.rung(b"", b"%d %s " % (version + 2, one.fleet.id.encode()))
    await until(lambda: view(two, "a") == {one.fleet.id: here, three.fleet.id: unheard})


async def test_redis_that_is_away_refuses_and_everything_goes_on_when_it_is_back(
    scene: Scene,
) -> None:
    one, two = await scene.enter(), await scene.enter()
    here = one.join("a", "x")
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    two.told.clear()
    scene.redis.kill()
    for asking in (
        two.fleet.attendances(["a"]),
        two.fleet.followed(ALL, "", 10),
        two.fleet.nodes(),
        two.fleet.order(Disconnect("c")),
        two.fleet.broadcast(DisconnectAll(Holder("token", "42"))),
        two.fleet.revoke(Revocation("t1", LATER)),
        two.fleet.shelf.put("a", b"thing", 60),
        two.fleet.shelf.take("a"),
    ):
        with pytest.raises(BrokerUnavailable):
            await asking
    later = one.join("a", "x", "y")
    one.join("b", "z")
    scene.redis.restart()
    await until(lambda: view(two, "a", here={one.fleet.id: here}) == {one.fleet.id: later})
    one.connections["c"] = set()
    await becomes(lambda: given(two, Disconnect("c")), True)
    await becomes(lambda: two.fleet.followed(ALL, "", 10), ["a", "b"])
    assert ("departed", one.fleet.id) not in two.told


async def test_node_that_begins_while_redis_is_away_joins_the_others_when_it_is_back(
    scene: Scene,
) -> None:
    scene.redis.kill()
    one = await scene.enter()
    here = one.join("a", "x")
    scene.redis.restart()
    two = await scene.enter()
    await scene.watching(two, "a")
    await until(lambda: view(two, "a") == {one.fleet.id: here})
    one.connections["c"] = set()
    await becomes(lambda: given(two, Disconnect("c")), True)


async def given(crew: FakeCrew, order: Disconnect) -> bool:
    """Whether it was carried out; those that don't answer are tried again."""
    try:
        return await crew.fleet.order(order)
    except (NodesSilent, BrokerUnavailable):
        return False


async def test_who_asks_and_goes_leaves_nothing_behind(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    await scene.crash(two)
    asking = asyncio.create_task(one.fleet.order(Disconnect("c")))
    orders = one.fleet.broker.fleet._orders  # type: ignore[attr-defined]
    await until(lambda: bool(orders._asked))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert orders._asked == {}


async def test_channels_that_come_and_go_leave_nothing_behind(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    for number in range(50):
        one.join(f"c{number}", "x")
        one.fleet.gather(f"c{number}")
    await becomes(lambda: two.fleet.followed(ALL, "", 100), sorted(f"c{n}" for n in range(50)))
    for number in range(50):
        one.leave(f"c{number}")
    await becomes(lambda: two.fleet.followed(ALL, "", 100), [])
    fleet = one.fleet.broker.fleet  # type: ignore[attr-defined]
    await until(lambda: not fleet._attending._said)
    assert fleet._attending._due == {} and fleet._attending._forced == set()
    assert fleet._gathering._rolls == {} and fleet._gathering._wanted == {}
    assert scene.redis.cli("KEYS", f"{scene.prefix}:*:here") == ""


async def test_who_crashed_is_named_to_who_asks_all(scene: Scene) -> None:
    one, two, three = [await scene.enter() for _ in range(3)]
    await scene.crash(two)
    with pytest.raises(NodesSilent) as refusal:
        await one.fleet.revoke(Revocation("t1", LATER))
    assert refusal.value.nodes == [two.fleet.id]
    assert three.in_force == {"t1": LATER}
    await becomes(lambda: answers(one), 1)


async def answers(crew: FakeCrew) -> int:
    """How many nodes have answered."""
    try:
        return len(await crew.fleet.broadcast(DisconnectAll(Holder("key", "ci"))))
    except NodesSilent:
        return 0


async def test_who_has_carried_it_out_speaks_for_those_that_are_silent(scene: Scene) -> None:
    one, two, three = [await scene.enter() for _ in range(3)]
    await scene.crash(two)
    three.connections["c"] = set()
    assert await one.fleet.order(Disconnect("c"))


async def test_nobody_waits_for_who_leaves_meanwhile(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    await scene.crash(two)
    orders = one.fleet.broker.fleet._orders  # type: ignore[attr-defined]
    asking = asyncio.create_task(one.fleet.order(Disconnect("c")))
    await until(lambda: bool(orders._asked))
    scene.redis.cli("PUBLISH", orders._bells[0], json.dumps({"gone": two.fleet.id}))
    assert not await asking


async def test_answer_that_comes_too_late_is_nobodys(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    orders = one.fleet.broker.fleet._orders  # type: ignore[attr-defined]
    two.connections["c"] = set()
    assert await one.fleet.order(Disconnect("c"))
    late = {"answer": orders._number, "node": two.fleet.id, "done": True}
    orders.rung(b"", json.dumps(late).encode())
    assert orders._asked == {}


async def test_broadcast_of_a_newer_version_is_not_taken_for_done(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    orders = one.fleet.broker.fleet._orders  # type: ignore[attr-defined]
    told: list[object] = []
    orders._tell = lambda *answer: told.append(answer)
    orders.rung(b"", b'{"broadcast":1,"from":"newer","do":"dance"}')
    assert told == [] and two.broadcasts == []


async def test_revocation_that_was_not_heard_of_is_found(scene: Scene) -> None:
    one, two = await scene.enter(), await scene.enter()
    revoking_of_one = one.fleet.broker.fleet._revoking  # type: ignore[attr-defined]
    await revoking_of_one.keep([Revocation("t1", LATER), Revocation("t2", LATER)])
    await until(lambda: two.in_force == {"t1": LATER, "t2": LATER})


async def test_revocations_that_redis_has_lost_are_written_again(scene: Scene) -> None:
    one = await scene.enter()
    await one.fleet.revoke(Revocation("t1", LATER))
    await one.fleet.revoke(UserRevocation("42", 1000.5, LATER))
    # What it has done itself it knows already.
    one.revoked([Revocation("t1", LATER), UserRevocation("42", 1000.5, LATER)])
    tag = f"{scene.prefix}:{{$revoked}}:tag"
    written = scene.redis.cli("GET", tag)
    keeper = one.fleet.broker.fleet._revoking  # type: ignore[attr-defined]
    await until(lambda: keeper._settled[0] == written.strip().encode())
    scene.redis.cli("FLUSHALL")
    await becomes(lambda: asyncio.to_thread(lambda: scene.redis.cli("GET", tag) != ""), True)
    two = await scene.enter()
    assert two.in_force == {"t1": LATER}
    assert two.users_in_force == {("42", 1000.5, LATER)}


async def test_each_turn_of_reading_very_many_revocations_is_short(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "PAGE", 3)
    one = await scene.enter()
    wanted = {f"t{n}": LATER + n for n in range(10)}
    keeper = one.fleet.broker.fleet._revoking  # type: ignore[attr-defined]
    await keeper.keep([Revocation(*item) for item in wanted.items()])
    await until(lambda: one.in_force == wanted)
    turns = 0
    told: list[tuple[int, int]] = []
    done = asyncio.Event()

    async def somebody_else() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    def known() -> Iterator[Revocation]:
        for item in wanted.items():
            told.append((1, turns))
            yield Revocation(*item)

    keeper._on_read = lambda page: told.append((len(page), turns))
    keeper._known = known
    asking = asyncio.create_task(somebody_else())
    await one.fleet.revoke(Revocation("t10", LATER))
    await until(lambda: sum(count for count, _ in told) >= 11 + 10)
    done.set()
    await asking
    in_a_turn: Counter[int] = Counter()
    for count, turn in told:
        in_a_turn[turn] += count
    assert max(in_a_turn.values()) <= 3


async def test_what_is_written_in_several_pages_is_read_whole_by_who_looks_in_between(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "PAGE", 3)
    one, two = await scene.enter(), await scene.enter()
    keepers = [crew.fleet.broker.fleet._revoking for crew in (one, two)]  # type: ignore[attr-defined]
    ask = keepers[0]._commands.one

    async def asked_while_two_looks(call: Call) -> Any:
        answer = await ask(call)
        if call.what is REVOKE:
            await keepers[1].look()
        return answer

    keepers[0]._commands = SimpleNamespace(one=asked_while_two_looks)
    tokens = {f"t{n}": LATER + n for n in range(5)}
    user = ("42", 1000.0, LATER)
    await keepers[0].keep([*(Revocation(*each) for each in tokens.items()), UserRevocation(*user)])
    await until(lambda: two.in_force == tokens and two.users_in_force == {user})


async def test_what_is_written_while_it_is_read_is_found_the_next_time(scene: Scene) -> None:
    one = await scene.enter()
    keeper = one.fleet.broker.fleet._revoking  # type: ignore[attr-defined]
    take_in = keeper._on_read

    def taken_in(page: Sequence[AnyRevocation]) -> None:
        take_in(page)
        if page and "t2" not in one.in_force and scene.redis.cli("GET", tag) != "elsewhere\n":
            scene.redis.cli("ZADD", tokens, LATER, "t2")
            scene.redis.cli("SET", tag, "elsewhere")

    tag, tokens = (f"{scene.prefix}:{{$revoked}}:{what}" for what in ("tag", "tokens"))
    keeper._on_read = taken_in
    await one.fleet.revoke(Revocation("t1", LATER))
    await until(lambda: "t2" in one.in_force)


async def test_revocation_that_redis_was_away_for_is_written_when_it_is_back(
    hurried: None,
) -> None:
    """Though it has lost nothing meanwhile."""
    with RedisServer(appendfsync="always") as redis:
        scene = Scene(redis)
        one, two = await scene.enter(), await scene.enter()
        await one.fleet.revoke(Revocation("t1", LATER))
        keeper = one.fleet.broker.fleet._revoking  # type: ignore[attr-defined]
        tag = redis.cli("GET", f"{scene.prefix}:{{$revoked}}:tag").strip().encode()
        await until(lambda: keeper._settled[0] == tag)
        redis.kill()
        one.revoked([Revocation("t2", LATER)])
        with pytest.raises(BrokerUnavailable):
            await one.fleet.revoke(Revocation("t2", LATER))
        redis.restart()
        await until(lambda: two.in_force == {"t1": LATER, "t2": LATER})
        for crew in scene.crews:
            await crew.fleet.close()


async def test_two_who_write_at_once_hear_of_each_other(scene: Scene) -> None:
    """Though the tag of the one stands for both of them."""
    one, two = await scene.enter(), await scene.enter()
    keepers = [crew.fleet.broker.fleet._revoking for crew in (one, two)]  # type: ignore[attr-defined]
    for number in range(5):
        pair = [Revocation(f"{n}.{number}", LATER) for n in range(2)]
        await asyncio.gather(*(k.keep([each]) for k, each in zip(keepers, pair, strict=True)))
        count = 2 * (number + 1)
        await until(lambda count=count: len(one.in_force) == len(two.in_force) == count)  # type: ignore[misc]


async def test_node_that_begins_while_redis_is_away_learns_of_revocations_later(
    scene: Scene,
) -> None:
    one = await scene.enter()
    await one.fleet.revoke(Revocation("t1", LATER))
    await until(lambda: one.in_force == {"t1": LATER})
    scene.redis.kill()
    two = await scene.enter()
    assert two.in_force == {}
    scene.redis.restart()
    await until(lambda: two.in_force == {"t1": LATER})


async def test_more_revocations_than_one_page_are_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "PAGE", 3)
    one = await scene.enter()
    wanted = {f"t{n}": LATER + n for n in range(10)}
    await one.fleet.broker.fleet._revoking.keep(  # type: ignore[attr-defined]
        [Revocation(*item) for item in wanted.items()]
    )
    two = await scene.enter()
    assert two.in_force == wanted


async def test_revocations_end_in_redis_too(scene: Scene) -> None:
    one = await scene.enter()
    await one.fleet.revoke(Revocation("past", 1000.0))
    await one.fleet.revoke(Revocation("t1", LATER))
    key = f"{scene.prefix}:{{$revoked}}:tokens"
    assert scene.redis.cli("ZRANGE", key, "0", "-1").split() == ["t1"]
    assert scene.redis.cli("EXPIRETIME", key).strip() == str(int(LATER) + 3600)


async def test_revocations_stay_in_redis_a_minute_longer_for_clocks_that_are_behind(
    scene: Scene,
) -> None:
    one = await scene.enter()
    now = time.time()
    for name, ago in (("just", 30), ("long", 90)):
        await one.fleet.revoke(Revocation(name, now - ago))
    key = f"{scene.prefix}:{{$revoked}}:tokens"
    assert scene.redis.cli("ZRANGE", key, "0", "-1").split() == ["just"]


async def test_of_too_many_revocations_redis_keeps_those_that_end_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "MAX_REVOCATIONS", 3)
    one = await scene.enter()
    for number in (3, 1, 4, 2, 5):
        await one.fleet.revoke(Revocation(f"t{number}", LATER + number))
    key = f"{scene.prefix}:{{$revoked}}:tokens"
    assert scene.redis.cli("ZRANGE", key, "0", "-1").split() == ["t3", "t4", "t5"]


async def test_what_could_not_be_told_is_not_owed_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "TELL_SECONDS", 0.01)
    one, two = await scene.enter(), await scene.enter()
    one.fleet.spend("before", 1)
    await until(lambda: two.owed == {"before": 1})
    of_one = one.fleet.broker.fleet._spending  # type: ignore[attr-defined]
    of_one._commands = commands = Counting(of_one._commands)
    scene.redis.kill()
    for times in (1, 2, 3):
        one.fleet.spend("meanwhile", 1)
        await until(lambda times=times: commands.refused == times)  # type: ignore[misc]
    scene.redis.restart()

    async def told() -> bool:
        one.fleet.spend("after", 1)
        await asyncio.sleep(0.05)
        return two.owed["after"] > 0

    await becomes(told, True)
    assert two.owed.keys() == {"before", "after"}


class Counting:
    """Commands, and how often they were refused."""

    publish = "PUBLISH"
    refused = 0

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def one(self, call: Call) -> Any:
        try:
            return await self._commands.one(call)
        except BrokerUnavailable:
            self.refused += 1
            raise


async def test_messages_in_a_black_hole_are_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "LATE_SECONDS", 0.1)
    monkeypatch.setattr(spending, "TELL_SECONDS", 0.01)
    one, two = await scene.enter(), await scene.enter()
    of_one = one.fleet.broker.fleet._spending  # type: ignore[attr-defined]
    commands, of_one._commands = of_one._commands, Swallowing()
    one.fleet.spend("swallowed", 1)
    await until(lambda: of_one._commands.asked > 0)
    one.fleet.spend("behind it", 1)
    await until(lambda: not of_one._untold)
    monkeypatch.setattr(spending, "LATE_SECONDS", PATIENCE_SECONDS)
    of_one._commands = commands
    one.fleet.spend("a", 1)
    await until(lambda: bool(two.owed))
    assert two.owed == {"a": 1}


class Swallowing:
    """Commands that are never answered."""

    publish = "PUBLISH"
    asked = 0

    async def one(self, call: object) -> object:
        self.asked += 1
        return await asyncio.get_running_loop().create_future()


async def test_a_crowd_of_buckets_takes_bounded_room(scene: Scene) -> None:
    one = await scene.enter()
    for number in range(spending.BUCKETS_WAITING + 100):
        one.fleet.spend(f"b{number}", 1)
    untold = one.fleet.broker.fleet._spending._untold  # type: ignore[attr-defined]
    assert len(untold) == spending.BUCKETS_WAITING
    assert "b99" not in untold and "b100" in untold


async def test_counts_that_no_node_could_tell_are_not_owed(scene: Scene) -> None:
    one = await scene.enter()
    ear = one.fleet.broker.fleet._spending  # type: ignore[attr-defined]
    strange = {"a": -1, "b": 0, "c": 1.5, "d": "9", "e": True, "f" * 33: 1, "g": 10**13, "h": None}
    ear.rung(b"", json.dumps({"from": "node", "spent": {**strange, "sound": 2}}).encode())
    assert one.owed == {"sound": 2}
    for message in (b"{}", b"[]", b"1", b'{"from":"node","spent":[1]}'):
        ear.rung(b"", message)
    assert one.owed == {"sound": 2}
    bell = f"{scene.prefix}:{{$nodes}}:spent"
    scene.redis.cli("PUBLISH", bell, "no JSON")
    scene.redis.cli("PUBLISH", bell, '{"from":"node","spent":{"after":1}}')
    await until(lambda: one.owed["after"] == 1)
