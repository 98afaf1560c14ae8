"""Orders that any node may give, and the one whose they are carries out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json, to_json

from notifier.brokers.fleet import ORDER_SECONDS, Disconnect, Order, Unsubscribe
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells, heard
from notifier.brokers.redis.living import Living
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import RING
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable, NodesSilent


class _Asked:
    """An order that was given.

    :ivar waiting: nodes that have not answered.
    :ivar done: whether one has carried it out.
    """

    def __init__(self, nodes: set[str]) -> None:
        self.waiting = nodes
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answered(self, node: str, done: bool) -> None:
        self.waiting.discard(node)
        if not self.done.done() and (done or not self.waiting):
            self.done.set_result(done)


class Orders:
    """Those of this node, and those of the others (an
    :class:`~notifier.brokers.redis.doorbell.Ear` for both).

    :param carry_out: does one of another node's; whether it was for this one to do.
    """

    def __init__(
        self,
        commands: Commands,
        doorbells: Doorbells,
        names: Names,
        node: str,
        living: Living,
        errands: Errands,
        *,
        carry_out: Callable[[Order], bool],
    ) -> None:
        self._commands = commands
        self._doorbells = doorbells
        self._names = names
        self._node = node
        self._living = living
        self._errands = errands
        self._carry_out = carry_out
        self._bells = (names.orders_bell, names.answers_bell(node))
        self._asked: dict[int, _Asked] = {}
        self._number = 0

    async def listen(self) -> None:
        """For orders and answers, from now on. Returns when they are heard, or Redis is away."""
        listening = [self._doorbells.listen(bell, self) for bell in self._bells]
        if self._doorbells.trouble is not None:
            return
        with contextlib.suppress(BrokerUnavailable):
            for each in listening:
                await heard(each, ORDER_SECONDS)

    def ignore(self) -> None:
        """No more."""
        for bell in self._bells:
            self._doorbells.ignore(bell)

    async def give(self, order: Order) -> bool:
        """Whether one of the others has carried it out.

        :raises BrokerUnavailable:
        :raises NodesSilent:
        """
        others = self._living.others(await self._commands.one(self._living.call))
        if not others:
            return False
        self._number += 1
        number = self._number
        asked = self._asked[number] = _Asked(others)
        try:
            await self._ring(self._names.orders_bell, _written(order, number, self._node))
            async with asyncio.timeout(ORDER_SECONDS):
                return await asked.done
        except TimeoutError:
            silent = sorted(asked.waiting)
            raise NodesSilent(
                f"No node that answered has it, and {len(silent)} did not answer.", nodes=silent
            ) from None
        finally:
            del self._asked[number]

    async def take_leave(self) -> None:
        """Tell the others that this node goes.

        :raises BrokerUnavailable:
        """
        await self._ring(self._names.orders_bell, {"gone": self._node})

    # --- the Ear ---

    def hears(self) -> None:
        """An order missed is one not answered: who gave it knows."""

    def rung(self, bell: bytes, message: bytes) -> None:
        told = from_json(message)
        match told:
            case {"gone": node}:
                if node != self._node:
                    for asked in self._asked.values():
                        asked.answered(node, False)
                    self._living.gone(node)
            case {"answer": number, "node": node, "done": done}:
                if number in self._asked:
                    self._asked[number].answered(node, done)
            case {"number": number, "from": asker} if asker != self._node:
                order = _read(told)
                # What a newer version asks for is not for this node to do.
                done = order is not None and self._carry_out(order)
                answer = {"answer": number, "node": self._node, "done": done}
                self._errands.run(self._answer(asker, answer))

    async def _answer(self, asker: str, answer: dict[str, Any]) -> None:
        try:
            await self._ring(self._names.answers_bell(asker), answer)
        except BrokerUnavailable:
            return  # it waits for no more than a moment, and says that we were silent

    async def _ring(self, bell: str, message: dict[str, Any]) -> None:
        call = Call(RING, (bell,), (self._commands.publish, to_json(message)))
        await self._commands.one(call)


def _written(order: Order, number: int, node: str) -> dict[str, Any]:
    told = {"number": number, "from": node, "connection": order.connection}
    match order:
        case Disconnect():
            return told | {"do": "disconnect"}
        case Unsubscribe(name=name):
            return told | {"do": "unsubscribe", "name": name}


def _read(told: dict[str, Any]) -> Order | None:
    match told:
        case {"do": "disconnect", "connection": connection}:
            return Disconnect(connection)
        case {"do": "unsubscribe", "connection": connection, "name": name}:
            return Unsubscribe(connection, name)
    return None
