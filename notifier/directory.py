"""What there is: channels, who follows them, nodes. The same from whichever node is asked."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable

from notifier.attendance import Attendance
from notifier.brokers.base import Broker
from notifier.brokers.fleet import Fleet
from notifier.channels import Pattern
from notifier.errors import NoSuchChannel
from notifier.history import ChannelOverview, ChannelPage, checked_limit
from notifier.hub import Hub
from notifier.members import Members
from notifier.nodestate import NodeState
from notifier.presence import Presence

# Names compared with a pattern before everybody else has a turn.
SCAN_NAMES = 1000


class Directory:
    """What the broker knows, what this node knows, and what the others do, in one answer."""

    def __init__(self, broker: Broker, fleet: Fleet, hub: Hub, presence: Presence) -> None:
        self._broker = broker
        self._fleet = fleet
        self._hub = hub
        self._presence = presence

    async def channel(self, channel: str) -> ChannelOverview:
        """:raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        state = await self._broker.channel(channel)
        (others,) = await self._fleet.attendances([channel])
        subscribers = self._subscribers(channel, others.values())
        if state is None and not subscribers:
            raise _unknown(channel)
        return ChannelOverview(channel, state, subscribers)

    async def channels(self, pattern: Pattern, after: str, limit: int | None) -> ChannelPage:
        """Channels that match and come after a name: those that were published to, and those
        that somebody follows.

        :raises BadParameter:
        :raises BrokerUnavailable:
        """
        count = checked_limit(limit)
        # One more than the page holds, to know whether there is a next.
        known = {
            state.channel: state for state in await self._broker.channels(pattern, after, count + 1)
        }
        elsewhere = await self._fleet.followed(pattern, after, count + 1)
        here = await self._followed(pattern, after)
        names = heapq.nsmallest(count + 1, known.keys() | here | set(elsewhere))
        page = names[:count]
        others = await self._fleet.attendances(page)
        return ChannelPage(
            [
                ChannelOverview(name, known.get(name), self._subscribers(name, there.values()))
                for name, there in zip(page, others, strict=True)
            ],
            names[count - 1] if len(names) > count else None,
        )

    async def presence(self, channel: str) -> Members:
        """Who is on the channel.

        :raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        (others,) = await self._fleet.attendances([channel])
        subscribers = self._subscribers(channel, others.values())
        if not subscribers and await self._broker.channel(channel) is None:
            raise _unknown(channel)
        if self._presence.is_on(channel):
            return self._presence.with_others(channel, others.values())
        return Members(channel, subscribers, None)

    async def nodes(self) -> list[NodeState]:
        """All that live, the oldest first.

        :raises BrokerUnavailable:
        """
        nodes = await self._fleet.nodes()
        return sorted(nodes, key=lambda node: (node.started_ms, node.id))

    async def check_followed(self, channel: str) -> None:
        """A channel that nobody published to exists while somebody listens.

        :raises NoSuchChannel: nobody does.
        :raises BrokerUnavailable:
        """
        if self._hub.subscribers(channel):
            return
        (others,) = await self._fleet.attendances([channel])
        if not others:
            raise _unknown(channel)

    def _subscribers(self, channel: str, others: Iterable[Attendance]) -> int:
        return self._hub.subscribers(channel) + sum(there.count for there in others)

    async def _followed(self, pattern: Pattern, after: str) -> set[str]:
        """Channels that somebody on this node follows."""
        found = set()
        for number, name in enumerate(list(self._hub.feeds), start=1):
            if number % SCAN_NAMES == 0:
                await asyncio.sleep(0)
            if name > after and self._hub.subscribers(name) and pattern.matches(name):
                found.add(name)
        return found


def _unknown(channel: str) -> NoSuchChannel:
    return NoSuchChannel(
        f"Nothing was ever published to {channel!r}, and nobody listens to it.",
        channel=channel,
    )
