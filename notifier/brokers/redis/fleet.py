"""The fleet of the nodes that share a Redis."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation
from notifier.auth.shelf import Shelf
from notifier.brokers.fleet import Broadcast, Crew, Order
from notifier.brokers.redis.attending import Attending
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells
from notifier.brokers.redis.gathering import Gathering
from notifier.brokers.redis.living import Living
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.orders import Orders
from notifier.brokers.redis.registry import bounds
from notifier.brokers.redis.revoking import Revoking
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.shelf import RedisShelf
from notifier.brokers.redis.spending import Spending
from notifier.channels import Namespaces, Pattern
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.nodestate import NodeState

# Names compared with a pattern in one round trip.
SCAN_NAMES = 1000
# Before work that failed is begun anew.
AGAIN_SECONDS = 1.0
# What taking leave may take: the others find out anyway.
LEAVE_SECONDS = 1.0


class RedisFleet:
    """Keeps the contract of :class:`~notifier.brokers.fleet.Fleet`.

    It uses what the broker has open, so it is opened after it and closed before.

    :param node: this node's id.
    """

    def __init__(
        self,
        commands: Commands,
        doorbells: Doorbells,
        names: Names,
        namespaces: Namespaces,
        *,
        node: str,
    ) -> None:
        self._id = node
        self._commands = commands
        self._doorbells = doorbells
        self._names = names
        self._namespaces = namespaces
        self._errands = Errands()
        self._shelf = RedisShelf(commands, names)

    @property
    def id(self) -> str:
        return self._id

    @property
    def shelf(self) -> Shelf:
        return self._shelf

    def enlist(self, crew: Crew) -> None:
        self._living = Living(
            self._commands,
            self._names,
            self._id,
            facts=crew.facts,
            on_forgotten=lambda: self._errands.run(self._attending.say_all()),
            on_departed=crew.departed,
        )
        self._gathering = Gathering(
            self._commands,
            self._doorbells,
            self._names,
            self._id,
            self._living,
            on_gathered=crew.gathered,
            on_attended=crew.attended,
        )
        self._attending = Attending(
            self._commands,
            self._names,
            self._namespaces,
            self._id,
            attendance=crew.attendance,
            on_left=self._gathering.leave,
        )
        self._orders = Orders(
            self._commands,
            self._doorbells,
            self._names,
            self._id,
            self._living,
            self._errands,
            carry_out=crew.carry_out,
            answer=crew.answer,
        )
        self._revoking = Revoking(
            self._commands, self._names, known=crew.revocations, on_read=crew.revoked
        )
        self._spending = Spending(
            self._commands, self._doorbells, self._names, self._id, on_spent=crew.owe
        )

    async def open(self) -> None:
        self._spending.listen()
        await self._orders.listen()
        if self._doorbells.trouble is None:
            # Before anybody comes: who is heard of and does not live is taken for dead.
            await self._living.beat()
            with contextlib.suppress(BrokerUnavailable):
                # Before anybody comes: with a token that counts no more, perhaps.
                await self._revoking.look()
        for work in (
            self._living,
            self._attending,
            self._gathering,
            self._revoking,
            self._spending,
        ):
            self._errands.run(_again_and_again(work.run))

    async def close(self) -> None:
        self._orders.ignore()
        self._spending.ignore()
        await self._errands.close()
        with contextlib.suppress(BrokerUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._living.leave()
                await self._orders.take_leave()

    def attend(self, channel: str) -> None:
        self._attending.changed(channel)

    def gather(self, channel: str) -> None:
        self._gathering.gather(channel)

    def spend(self, bucket: str, tokens: int) -> None:
        self._spending.add(bucket, tokens)

    async def attendances(self, channels: Sequence[str]) -> Sequence[Mapping[str, Attendance]]:
        return await self._gathering.attendances(channels)

    async def followed(self, pattern: Pattern, after: str, limit: int) -> Sequence[str]:
        others = self._living.others(await self._commands.one(self._living.call))
        found = await asyncio.gather(
            *(self._followed_on(node, pattern, after, limit) for node in others)
        )
        return heapq.nsmallest(limit, set().union(*found))

    async def _followed_on(self, node: str, pattern: Pattern, after: str, limit: int) -> list[str]:
        found: list[str] = []
        while len(found) < limit:
            start, stop = bounds(pattern, after)
            words = (self._names.followed(node), start, stop, "LIMIT", 0, SCAN_NAMES)
            answer = await self._commands.one(Call("ZRANGEBYLEX", args=words))
            names = [name.decode() for name in answer]
            found += filter(pattern.matches, names)
            if len(names) < SCAN_NAMES:
                break
            after = names[-1]
        return found[:limit]

    async def nodes(self) -> Sequence[NodeState]:
        return await self._living.nodes()

    async def order(self, order: Order) -> bool:
        return await self._orders.give(order)

    async def broadcast(self, broadcast: Broadcast) -> Sequence[Any]:
        return await self._orders.broadcast(broadcast)

    async def revoke(self, revocation: AnyRevocation) -> Sequence[Any]:
        await self._revoking.keep([revocation])
        return await self._orders.broadcast(revocation)


async def _again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    """Begin it anew when it has failed: a fault of ours must not make this node a ghost."""
    while True:
        try:
            await work()
        except Exception as fault:  # noqa: BLE001
            context = {"message": "a fleet's work failed", "exception": fault}
            asyncio.get_running_loop().call_exception_handler(context)
        await asyncio.sleep(AGAIN_SECONDS)
