"""The fleet of a node that shares its broker with nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation
from notifier.auth.shelf import MemoryShelf, Shelf
from notifier.brokers.fleet import Broadcast, Crew, Order, new_node_id
from notifier.channels import Pattern
from notifier.nodestate import NodeState


class Alone:
    """Keeps the contract of :class:`~notifier.brokers.fleet.Fleet`: there are no others."""

    _crew: Crew

    def __init__(self) -> None:
        self._id = new_node_id()
        self._shelf = MemoryShelf()

    @property
    def id(self) -> str:
        return self._id

    @property
    def shelf(self) -> Shelf:
        return self._shelf

    def enlist(self, crew: Crew) -> None:
        self._crew = crew

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def attend(self, channel: str) -> None:
        pass

    def gather(self, channel: str) -> None:
        self._crew.gathered(channel, {})

    def spend(self, bucket: str, tokens: int) -> None:
        pass

    async def attendances(self, channels: Sequence[str]) -> Sequence[Mapping[str, Attendance]]:
        return [{} for _ in channels]

    async def followed(self, pattern: Pattern, after: str, limit: int) -> Sequence[str]:
        return []

    async def nodes(self) -> Sequence[NodeState]:
        return [self._crew.facts()]

    async def order(self, order: Order) -> bool:
        return False

    async def broadcast(self, broadcast: Broadcast) -> Sequence[Any]:
        return []

    async def revoke(self, revocation: AnyRevocation) -> Sequence[Any]:
        return []
