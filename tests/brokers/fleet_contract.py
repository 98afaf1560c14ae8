"""What every fleet promises (``notifier/brokers/fleet.py``), as tests.

A fleet joins by a test module of its own with a factory and two lines::

    class TestContract(FleetContract):
        make = staticmethod(make_fleets)

One that has never any others keeps :class:`LoneContract` alone. Fleets may tell later than they
are told; so what is told is awaited.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation, Revocation, UserRevocation
from notifier.brokers.fleet import (
    Broadcast,
    Disconnect,
    DisconnectAll,
    Fleet,
    ListConnections,
    Order,
    Unsubscribe,
)
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.connectionstate import Holder
from notifier.members import Member
from notifier.nodestate import NodeState

NAMESPACES = Namespaces(Namespace(presence=True), {"dark": Namespace()})
PATIENCE_SECONDS = 20.0
ALL = Pattern.parse("*")
# Seconds since 1970, in the year 2100.
LATER = 4102444800.0


def _member(name: str, node: str) -> Member:
    """One whose name begins with @ has a token."""
    if not name.startswith("@"):
        return Member(name, "websocket", 1000, node)
    info = '{"team":"équipe","of":[1,null]}'.encode()
    return Member(name, "websocket", 1000, node, user=f"user {name}", info=info)


class MakeFleets(Protocol):
    """So many nodes of one service with nothing in it, none opened yet."""

    def __call__(self, count: int, namespaces: Namespaces) -> Sequence[Fleet]: ...


class FakeCrew:
    """A node that keeps what its fleet tells it.

    :ivar here: who follows each channel.
    :ivar connections: its connections, and what each has asked for.
    :ivar in_force: revocations, by the token's id.
    :ivar users_in_force: user, before, and until.
    :ivar broadcasts: that it was given, in order.
    :ivar owed: tokens it was told to owe, by bucket; and how often it was told.
    :ivar told: all else that it was told, in order.
    :ivar asked: how often it was asked who follows a channel.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.here: dict[str, Attendance] = {}
        self.connections: dict[str, set[str]] = {}
        self.in_force: dict[str, float] = {}
        self.users_in_force: set[tuple[str, float, float]] = set()
        self.broadcasts: list[Broadcast] = []
        self.owed: Counter[str] = Counter()
        self.owed_times = 0
        self.told: list[tuple[Any, ...]] = []
        self.asked: list[str] = []
        fleet.enlist(self)

    # --- what it does ---

    def join(self, channel: str, *names: str, count: int | None = None) -> Attendance:
        """So these follow the channel now, and nobody else."""
        members = [_member(name, self.fleet.id) for name in names]
        self.here[channel] = Attendance(
            len(names) if count is None else count, members if count is None else None
        )
        self.fleet.attend(channel)
        return self.here[channel]

    def leave(self, channel: str) -> None:
        del self.here[channel]
        self.fleet.attend(channel)

    async def hears(self, told: tuple[Any, ...]) -> None:
        """Wait until it is told this."""
        await until(lambda: told in self.told)

    # --- the Crew ---

    def facts(self) -> NodeState:
        return NodeState(
            id=self.fleet.id,
            host="here",
            port=8888,
            version="1.2.3",
            started_ms=1000,
            connections=len(self.connections),
            subscriptions=2,
            channels=len(self.here),
            reason=None,
        )

    def attendance(self, channel: str) -> Attendance | None:
        self.asked.append(channel)
        return self.here.get(channel)

    def gathered(self, channel: str, others: Mapping[str, Attendance]) -> None:
        self.told.append(("gathered", channel, dict(others)))

    def attended(self, channel: str, node: str, attendance: Attendance | None) -> None:
        self.told.append(("attended", channel, node, attendance))

    def departed(self, node: str) -> None:
        self.told.append(("departed", node))

    def carry_out(self, order: Order) -> bool:
        match order:
            case Disconnect(connection):
                return self.connections.pop(connection, None) is not None
            case Unsubscribe(connection, name):
                names = self.connections.get(connection, set())
                found = name in names
                names.discard(name)
                return found

    async def answer(self, broadcast: Broadcast) -> Any:
        self.broadcasts.append(broadcast)
        if isinstance(broadcast, Revocation | UserRevocation):
            self.revoked([broadcast])
        return {"by": self.fleet.id}

    def revocations(self) -> Sequence[AnyRevocation]:
        tokens = [Revocation(*item) for item in self.in_force.items()]
        return [*tokens, *(UserRevocation(*each) for each in self.users_in_force)]

    def revoked(self, revocations: Sequence[AnyRevocation]) -> None:
        for each in revocations:
            if isinstance(each, UserRevocation):
                self.users_in_force.add((each.user, each.before, each.until))
                continue
            known = self.in_force.get(each.token_id, 0.0)
            self.in_force[each.token_id] = max(known, each.until)

    def owe(self, tokens: Mapping[str, int]) -> None:
        self.owed.update(tokens)
        self.owed_times += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)


async def becomes(look: Callable[[], Any], wanted: Any) -> None:
    """Look until it is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await look() != wanted:  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


class LoneContract:
    """What holds for a node that has no others."""

    make: MakeFleets

    @asynccontextmanager
    async def crews(self, count: int) -> AsyncIterator[Sequence[FakeCrew]]:
        fleets = self.make(count, NAMESPACES)
        crews = [FakeCrew(fleet) for fleet in fleets]
        for fleet in fleets:
            await fleet.open()
        try:
            yield crews
        finally:
            for fleet in fleets:
                await fleet.close()

    async def test_node_has_an_id_of_its_own_and_knows_itself(self) -> None:
        async with self.crews(1) as (one,), self.crews(1) as (another,):
            assert len(one.fleet.id) == 8
            assert one.fleet.id != another.fleet.id
            one.connections["c"] = set()
            assert list(await one.fleet.nodes()) == [one.facts()]

    async def test_without_others_nobody_is_elsewhere(self) -> None:
        async with self.crews(1) as (one,):
            one.join("a", "x")
            one.fleet.gather("a")
            await one.hears(("gathered", "a", {}))
            assert list(await one.fleet.attendances(["a", "b"])) == [{}, {}]
            assert list(await one.fleet.attendances([])) == []
            assert list(await one.fleet.followed(ALL, "", 10)) == []
            one.connections["c"] = {"a"}
            assert not await one.fleet.order(Disconnect("c")), "what is its own it does itself"
            assert one.connections == {"c": {"a"}}

    async def test_what_is_put_on_the_shelf_is_taken_once(self) -> None:
        async with self.crews(1) as (one,):
            shelf = one.fleet.shelf
            await shelf.put("a", b"\x00\xff thing", 60)
            await shelf.put("b", b"another", 60)
            assert await shelf.look("a") == await shelf.look("a") == b"\x00\xff thing"
            taken = await asyncio.gather(*(shelf.take("a") for _ in range(5)))
            assert await shelf.look("a") is None
            assert [thing for thing in taken if thing is not None] == [b"\x00\xff thing"]
            assert await shelf.take("nothing") is None
            assert await shelf.take("b") == b"another"

    async def test_what_is_put_on_the_shelf_is_kept_for_its_time(self) -> None:
        async with self.crews(1) as (one,):
            await one.fleet.shelf.put("a", b"thing", 0.001)
            await asyncio.sleep(0.05)
            assert await one.fleet.shelf.look("a") is None
            assert await one.fleet.shelf.take("a") is None

    async def test_without_others_nobody_answers(self) -> None:
        async with self.crews(1) as (one,):
            assert list(await one.fleet.broadcast(DisconnectAll(Holder("token", "42")))) == []
            assert list(await one.fleet.revoke(Revocation("t1", LATER))) == []
            assert one.broadcasts == [], "what is its own it does itself"

    async def test_without_others_nobody_owes(self) -> None:
        async with self.crews(1) as (one,), self.crews(1) as (another,):
            one.fleet.spend("a", 1)
            await asyncio.sleep(0.1)
            assert not one.owed and not another.owed, "it is of another service"


class FleetContract(LoneContract):
    """What holds for several."""

    async def test_all_nodes_know_of_all(self) -> None:
        async with self.crews(3) as crews:
            everybody = sorted((crew.facts() for crew in crews), key=lambda node: node.id)
            for crew in crews:

                async def nodes(crew: FakeCrew = crew) -> Any:
                    return sorted(await crew.fleet.nodes(), key=lambda node: node.id)

                await becomes(nodes, everybody)

    async def test_who_follows_a_channel_is_known_on_the_others(self) -> None:
        async with self.crews(3) as (one, two, three):
            here = one.join("a", "x", "@y")
            there = two.join("a", "@z")
            many = two.join("dark:a", count=7)
            for crew, a, dark in (
                (three, {one.fleet.id: here, two.fleet.id: there}, {two.fleet.id: many}),
                (one, {two.fleet.id: there}, {two.fleet.id: many}),
                (two, {one.fleet.id: here}, {}),
            ):

                async def look(crew: FakeCrew = crew) -> Any:
                    return list(await crew.fleet.attendances(["a", "nobody", "dark:a"]))

                await becomes(look, [a, {}, dark])

    async def test_who_gathers_is_told_who_is_there_then_what_changes(self) -> None:
        async with self.crews(2) as (one, two):
            first = one.join("a", "x")
            await becomes(lambda: two.fleet.attendances(["a"]), [{one.fleet.id: first}])
            two.join("a", "z")
            two.fleet.gather("a")
            await two.hears(("gathered", "a", {one.fleet.id: first}))
            second = one.join("a", "x", "@y")
            await two.hears(("attended", "a", one.fleet.id, second))
            one.leave("a")
            await two.hears(("attended", "a", one.fleet.id, None))
            assert two.told[0][0] == "gathered"
            assert not [told for told in two.told if told[2] == two.fleet.id], "of the others"

    async def test_two_that_come_at_the_same_time_know_of_each_other(self) -> None:
        async with self.crews(2) as crews:
            for number in range(5):
                channel = f"a{number}"
                here = {crew.fleet.id: crew.join(channel, f"of {crew.fleet.id}") for crew in crews}
                for crew in crews:
                    crew.fleet.gather(channel)
                for crew in crews:
                    (other,) = here.keys() - {crew.fleet.id}

                    known = partial(view, crew, channel)
                    wanted = {other: here[other]}
                    await until(partial(lambda known, wanted: known() == wanted, known, wanted))

    async def test_burst_is_told_as_what_it_comes_to(self) -> None:
        async with self.crews(2) as (one, two):
            two.join("a", "watcher")
            two.fleet.gather("a")
            await two.hears(("gathered", "a", {}))
            for count in range(1, 101):
                last = one.join("a", *(f"c{n}" for n in range(count)))
            await two.hears(("attended", "a", one.fleet.id, last))
            told = [told for told in two.told if told[0] == "attended"]
            assert len(told) <= 2 and one.asked.count("a") <= 2

    async def test_who_came_and_left_in_one_moment_was_never_there(self) -> None:
        async with self.crews(2) as (one, two):
            two.join("a", "watcher")
            two.fleet.gather("a")
            await two.hears(("gathered", "a", {}))
            one.join("a", "x")
            one.leave("a")
            marker = one.join("b", "x")
            await becomes(lambda: two.fleet.attendances(["b"]), [{one.fleet.id: marker}])
            assert list(await two.fleet.attendances(["a"])) == [{}]
            assert list(await two.fleet.followed(ALL, "", 10)) == ["b"]

    async def test_channels_followed_elsewhere_are_listed_in_order(self) -> None:
        async with self.crews(3) as (one, two, three):
            for name in ("b:2", "b:1", "dark:1", "zß"):
                one.join(name, "x")
            for name in ("b:1", "b:3", "ä"):
                two.join(name, "y")
            three.join("b:0", "own")

            async def followed(
                pattern: str = "*", after: str = "", limit: int = 10, crew: FakeCrew = three
            ) -> Any:
                return list(await crew.fleet.followed(Pattern.parse(pattern), after, limit))

            await becomes(followed, ["b:1", "b:2", "b:3", "dark:1", "zß", "ä"])
            assert await followed("b:*") == ["b:1", "b:2", "b:3"]
            assert await followed("*:1") == ["b:1", "dark:1"]
            assert await followed(after="b:2") == ["b:3", "dark:1", "zß", "ä"]
            assert await followed(after="b:2", limit=2) == ["b:3", "dark:1"]
            assert await followed("b:*", after="b:1", limit=1) == ["b:2"]
            assert await followed("none*") == []
            one.leave("b:2")
            await becomes(lambda: followed("b:*"), ["b:1", "b:3"])
            assert await followed("b:*", crew=one) == ["b:0", "b:1", "b:3"]

    async def test_order_is_carried_out_by_whose_it_is(self) -> None:
        async with self.crews(3) as (one, two, three):
            two.connections["c"] = {"a", "b:*"}
            three.connections["d"] = {"a"}
            assert await one.fleet.order(Unsubscribe("c", "b:*"))
            assert two.connections == {"c": {"a"}}
            assert not await one.fleet.order(Unsubscribe("c", "b:*"))
            assert await three.fleet.order(Disconnect("c"))
            assert two.connections == {} and three.connections == {"d": {"a"}}
            assert not await three.fleet.order(Disconnect("c"))

    async def test_many_orders_at_once_are_not_mixed_up(self) -> None:
        async with self.crews(3) as (one, two, three):
            for number in range(30):
                crew = (two, three, None)[number % 3]
                if crew is not None:
                    crew.connections[f"c{number}"] = set()
            done = await asyncio.gather(
                *(one.fleet.order(Disconnect(f"c{number}")) for number in range(30))
            )
            assert list(done) == [number % 3 != 2 for number in range(30)]
            assert two.connections == three.connections == {}

    async def test_broadcast_is_answered_by_all_the_others(self) -> None:
        async with self.crews(3) as (one, two, three):
            for broadcast in (
                DisconnectAll(Holder("token", "4 2\n")),
                DisconnectAll(Holder("key", "é")),
                Revocation("t1", LATER + 0.125),
                UserRevocation("4 2\né", 1000.125, LATER + 0.125),
                ListConnections(None, "", 10),
                ListConnections(Holder("token", "42"), "c1", 1000),
            ):
                answers = await one.fleet.broadcast(broadcast)
                assert sorted(each["by"] for each in answers) == sorted(
                    crew.fleet.id for crew in (two, three)
                )
                assert two.broadcasts.pop() == three.broadcasts.pop() == broadcast
            assert one.broadcasts == []

    async def test_shelf_is_one_for_all(self) -> None:
        async with self.crews(3) as (one, two, three):
            await one.fleet.shelf.put("a", b"thing", 60)
            takers = [crew.fleet.shelf.take("a") for crew in (one, two, three) for _ in range(3)]
            taken = await asyncio.gather(*takers)
            assert [thing for thing in taken if thing is not None] == [b"thing"]

    async def test_revocation_is_known_to_all_at_once(self) -> None:
        async with self.crews(3) as (one, two, three):
            answers = await one.fleet.revoke(Revocation("t1", LATER))
            assert len(answers) == 2
            assert two.in_force == three.in_force == {"t1": LATER}

    async def test_revocation_is_known_to_who_joins_later(self) -> None:
        fleets = self.make(2, NAMESPACES)
        one, two = (FakeCrew(fleet) for fleet in fleets)
        await one.fleet.open()
        await one.fleet.revoke(Revocation("t1", LATER))
        await one.fleet.revoke(Revocation("t2", LATER + 0.1))
        await one.fleet.revoke(Revocation("t2", LATER - 1))
        users = {("4 2\né", 1000.125, LATER), ("4 2\né", 2000.0, LATER + 0.5), ("t1", 0.0, LATER)}
        for user in users:
            await one.fleet.revoke(UserRevocation(*user))
        await two.fleet.open()
        try:
            assert two.users_in_force == users
            assert two.in_force == {"t1": LATER, "t2": LATER + 0.1}, "before anybody comes"
        finally:
            await two.fleet.close()
            await one.fleet.close()

    async def test_what_is_spent_on_one_node_is_owed_on_the_others_once(self) -> None:
        async with self.crews(3) as (one, two, three):
            for _ in range(100):
                one.fleet.spend("a", 3)
                two.fleet.spend("a", 1)
            one.fleet.spend("b", 1)
            await until(lambda: three.owed == {"a": 400, "b": 1})
            await until(lambda: two.owed == {"a": 300, "b": 1} and one.owed == {"a": 100})
            assert three.owed_times <= 4, "not each by itself"
            one.fleet.spend("last", 1)
            await until(lambda: two.owed["last"] == three.owed["last"] == 1)
            assert two.owed == {"a": 300, "b": 1, "last": 1}

    async def test_of_many_buckets_all_are_told_and_those_most_was_taken_from_first(self) -> None:
        async with self.crews(2) as (one, two):
            names = [f"bucket{n}" for n in range(1200)]
            for name in names:
                one.fleet.spend(name, 1)
            one.fleet.spend("greedy", 50)
            await until(lambda: two.owed_times > 0)
            assert two.owed["greedy"] == 50 and len(two.owed) < 1000
            await until(lambda: len(two.owed) == 1201)
            assert two.owed == {**dict.fromkeys(names, 1), "greedy": 50}

    async def test_who_takes_leave_is_gone_at_once(self) -> None:
        async with self.crews(3) as (one, two, three):
            here = one.join("a", "x")
            two.join("a", "y")
            two.fleet.gather("a")
            await until(lambda: view(two, "a") == {one.fleet.id: here})
            await one.fleet.close()
            await two.hears(("departed", one.fleet.id))
            assert one.facts() not in await three.fleet.nodes()
            (a,) = await three.fleet.attendances(["a"])
            assert a.keys() == {two.fleet.id}
            assert not await three.fleet.order(Disconnect("c")), "nobody waits for it"


def view(
    crew: FakeCrew, channel: str, *, here: dict[str, Attendance] | None = None
) -> dict[str, Attendance] | None:
    """Who is elsewhere, by all that the crew was told.

    :param here: before that.
    """
    there = None if here is None else dict(here)
    for told in crew.told:
        match told:
            case ("gathered", name, others) if name == channel:
                there = dict(others)
            case ("attended", name, node, attendance) if name == channel and there is not None:
                there.pop(node, None)
                if attendance is not None:
                    there[node] = attendance
            case ("departed", node) if there is not None:
                there.pop(node, None)
    return there
