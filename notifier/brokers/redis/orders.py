"""Orders that any node may give, to the one whose they are or to all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from notifier.brokers.fleet import ORDER_SECONDS, Broadcast, Order
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells, heard
from notifier.brokers.redis.living import Living
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.ordertext import decode_broadcast, decode_order, encode
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import RING
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable, NodesSilent


class _Asked:
    """What the others were asked.

    :param one: it is for one of them alone; who has done it speaks for all.
    :ivar waiting: nodes that have not answered.
    :ivar answers: of those that have.
    :ivar all: set when nothing more is waited for.
    """

    def __init__(self, nodes: set[str], *, one: bool) -> None:
        self.waiting = nodes
        self.answers: list[Any] = []
        self.all = asyncio.Event()
        self._one = one

    def answered(self, node: str, answer: Any) -> None:
        if node in self.waiting:
            self.answers.append(answer)
            self.gone(node)
        if self._one and answer:
            self.all.set()

    def gone(self, node: str) -> None:
        """Nothing more is to come from it."""
        self.waiting.discard(node)
        if not self.waiting:
            self.all.set()


class Orders:
    """Those of this node, and those of the others (an
    :class:`~notifier.brokers.redis.doorbell.Ear` for both).

    :param carry_out: does one of another node's; whether it was for this one to do.
    :param answer: does this node's part of a broadcast; what came of it.
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
        answer: Callable[[Broadcast], Awaitable[Any]],
    ) -> None:
        self._commands = commands
        self._doorbells = doorbells
        self._names = names
        self._node = node
        self._living = living
        self._errands = errands
        self._carry_out = carry_out
        self._answer = answer
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
        return any(await self._ask(order, one=True))

    async def broadcast(self, broadcast: Broadcast) -> Sequence[Any]:
        """What each of the others has answered.

        :raises BrokerUnavailable:
        :raises NodesSilent:
        """
        return await self._ask(broadcast, one=False)

    async def _ask(self, order: Order | Broadcast, *, one: bool) -> Sequence[Any]:
        others = self._living.others(await self._commands.one(self._living.call))
        if not others:
            return []
        self._number += 1
        number = self._number
        asked = self._asked[number] = _Asked(others, one=one)
        try:
            what = "number" if one else "broadcast"
            message = {what: number, "from": self._node, **encode(order)}
            await self._ring(self._names.orders_bell, message)
            async with asyncio.timeout(ORDER_SECONDS):
                await asked.all.wait()
            return asked.answers
        except TimeoutError:
            silent = sorted(asked.waiting)
            raise NodesSilent(
                f"No node that answered has it, and {_nodes(len(silent))} did not answer."
                if one
                else f"{_nodes(len(silent))} did not answer; the others have done it.",
                nodes=silent,
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
                        asked.gone(node)
                    self._living.gone(node)
            case {"answer": number, "node": node, "done": answer}:
                if number in self._asked:
                    self._asked[number].answered(node, answer)
            case {"number": number, "from": asker} if asker != self._node:
                order = decode_order(told)
                # What a newer version asks for is not for this node to do.
                done = order is not None and self._carry_out(order)
                self._errands.run(self._tell(asker, number, done))
            case {"broadcast": number, "from": asker} if asker != self._node:
                # One that is not understood has not been done: who asks finds us silent.
                if (broadcast := decode_broadcast(told)) is not None:
                    self._errands.run(self._do(asker, number, broadcast))

    async def _do(self, asker: str, number: int, broadcast: Broadcast) -> None:
        await self._tell(asker, number, await self._answer(broadcast))

    async def _tell(self, asker: str, number: int, answer: Any) -> None:
        told = {"answer": number, "node": self._node, "done": answer}
        try:
            await self._ring(self._names.answers_bell(asker), told)
        except BrokerUnavailable:
            return  # it waits for no more than a moment, and says that we were silent

    async def _ring(self, bell: str, message: dict[str, Any]) -> None:
        call = Call(RING, (bell,), (self._commands.publish, to_json(message)))
        await self._commands.one(call)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
