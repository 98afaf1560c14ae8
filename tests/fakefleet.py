"""A fleet whose other nodes are made up by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation
from notifier.brokers.alone import Alone
from notifier.brokers.fleet import Broadcast, Order
from notifier.channels import Pattern
from notifier.errors import BrokerUnavailable, NodesSilent
from notifier.nodestate import NodeState


class FakeFleet(Alone):
    """Of two nodes: this one, and ``there``.

    :ivar there: who follows each channel on the other.
    :ivar connections: those of the other.
    :ivar down: it can't be reached.
    :ivar silent: the other does not answer.
    :ivar attended: the channels it was told of, in order.
    :ivar orders: that were given.
    :ivar answer: of the other, to a broadcast.
    """

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, Attendance] = {}
        self.connections: set[str] = set()
        self.down = False
        self.silent = False
        self.attended: list[str] = []
        self.orders: list[Order | Broadcast] = []
        self.answer: Any = 0

    def attend(self, channel: str) -> None:
        self.attended.append(channel)

    def gather(self, channel: str) -> None:
        self._crew.gathered(channel, self._elsewhere(channel))

    async def attendances(self, channels: Sequence[str]) -> Sequence[Mapping[str, Attendance]]:
        self._check()
        return [self._elsewhere(channel) for channel in channels]

    async def followed(self, pattern: Pattern, after: str, limit: int) -> Sequence[str]:
        self._check()
        found = sorted(name for name in self.there if name > after and pattern.matches(name))
        return found[:limit]

    async def nodes(self) -> Sequence[NodeState]:
        self._check()
        own = self._crew.facts()
        return [own, replace(own, id="there", started_ms=own.started_ms - 1)]

    async def order(self, order: Order) -> bool:
        self._check()
        self.orders.append(order)
        if self.silent:
            raise NodesSilent("there is silent", nodes=["there"])
        return order.connection in self.connections

    async def broadcast(self, broadcast: Broadcast) -> Sequence[Any]:
        self._check()
        self.orders.append(broadcast)
        if self.silent:
            raise NodesSilent("there is silent", nodes=["there"])
        return [self.answer]

    async def revoke(self, revocation: AnyRevocation) -> Sequence[Any]:
        return await self.broadcast(revocation)

    def _elsewhere(self, channel: str) -> dict[str, Attendance]:
        return {"there": self.there[channel]} if channel in self.there else {}

    def _check(self) -> None:
        if self.down:
            raise BrokerUnavailable("the far end is away")
