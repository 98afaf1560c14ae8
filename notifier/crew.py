"""This node, as its fleet sees it: what the others are told of it, and what they tell it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import notifier
from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation
from notifier.brokers.base import Broker
from notifier.brokers.fleet import Broadcast, Order
from notifier.connections import Connections
from notifier.counts import Counts
from notifier.hub import Hub
from notifier.nodestate import NodeState
from notifier.presence import Presence
from notifier.publishrate import PublishRate
from notifier.residents import Residents


class NodeCrew:
    """The :class:`~notifier.brokers.fleet.Crew` of one node.

    :param id: the node's.
    :param publish_rate: none where there is no limit.
    :ivar port: where it listens for clients; 0: nowhere yet.
    """

    def __init__(
        self,
        id: str,
        *,
        broker: Broker,
        connections: Connections,
        counts: Counts,
        hub: Hub,
        presence: Presence,
        publish_rate: PublishRate | None,
        residents: Residents,
        now_ms: Callable[[], int],
    ) -> None:
        self.port = 0
        self._id = id
        self._broker = broker
        self._connections = connections
        self._counts = counts
        self._hub = hub
        self._presence = presence
        self._publish_rate = publish_rate
        self._residents = residents
        self._host = socket.gethostname()
        self._started_ms = now_ms()

    def not_ready(self) -> str | None:
        """Why this node should get no new clients; ``None`` when it should."""
        return "draining" if self._connections.draining else self._broker.trouble

    def facts(self) -> NodeState:
        return NodeState(
            id=self._id,
            host=self._host,
            port=self.port,
            version=notifier.__version__,
            started_ms=self._started_ms,
            connections=len(self._connections),
            subscriptions=self._counts.subscriptions,
            channels=len(self._hub.feeds),
            reason=self.not_ready(),
        )

    def attendance(self, channel: str) -> Attendance | None:
        if self._presence.is_on(channel):
            return self._presence.attendance(channel)
        count = self._hub.subscribers(channel)
        return Attendance(count) if count else None

    def gathered(self, channel: str, others: Mapping[str, Attendance]) -> None:
        self._presence.gathered(channel, others)

    def attended(self, channel: str, node: str, attendance: Attendance | None) -> None:
        self._presence.attended(channel, node, attendance)

    def departed(self, node: str) -> None:
        self._presence.departed(node)

    def carry_out(self, order: Order) -> bool:
        return self._residents.carry_out(order)

    async def answer(self, broadcast: Broadcast) -> Any:
        return await self._residents.answer(broadcast)

    def revocations(self) -> Iterable[AnyRevocation]:
        return chain(self._residents.revocations(), self._residents.user_revocations())

    def revoked(self, revocations: Sequence[AnyRevocation]) -> None:
        self._residents.revoke(revocations)

    def owe(self, tokens: Mapping[str, int]) -> None:
        if self._publish_rate is not None:
            self._publish_rate.spent_elsewhere(tokens)
