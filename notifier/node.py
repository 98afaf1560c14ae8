"""The use cases of one server process: publish, subscribe, history, presence.

Handlers talk to a node and to nothing below it.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from notifier.backfill import Backfill
from notifier.brokers.base import Broker, Idempotency
from notifier.channels import Namespaces, Pattern, check_channel
from notifier.config import Settings
from notifier.connections import Connections
from notifier.counts import Counts
from notifier.errors import BadParameter, NoSuchChannel
from notifier.history import ChannelOverview, ChannelPage, History
from notifier.hub import Hub
from notifier.listener import Joined, Listener
from notifier.members import Member, Members
from notifier.metrics import State
from notifier.notification import Notification, Position
from notifier.presence import Presence
from notifier.requests import Requests
from notifier.sink import Sink
from notifier.subscription import Subscription
from notifier.subscriptions import Subscriptions
from notifier.wire.resume import After, Since, Starts, starts

# Publications, or channels, on one page.
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
# Names compared with a pattern before everybody else has a turn.
SCAN_NAMES = 1000


def new_id() -> str:
    """An id nobody else has: 16 letters, digits, ``-`` and ``_``; 96 random bits."""
    return secrets.token_urlsafe(12)


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Published:
    """The answer to a producer."""

    id: str
    channel: str
    position: Position | None
    subscribers: int
    repeated: bool = False


class Node:
    """One server process: its broker, its hub, its connections.

    :param now_ms: milliseconds since 1970.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        namespaces: Namespaces,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.broker = broker
        self.now_ms = now_ms
        self.clock = clock
        self.counts = Counts()
        self._backfill = Backfill(
            broker, now_ms=now_ms, counts=self.counts, on_page=self._page_at_hand
        )
        self._hub = Hub(
            namespaces,
            feed_size=settings.feed_size,
            feed_bytes=settings.feed_bytes,
            feeds_bytes=settings.feeds_bytes,
            counts=self.counts,
            call_soon=lambda callback: asyncio.get_running_loop().call_soon(callback),
            clock=clock,
            now_ms=now_ms,
            on_history=self._backfill.fetch,
        )
        self.requests = Requests()
        self.connections = Connections(
            settings,
            self.counts,
            clock=clock,
            on_blocked=self._hub.blocked,
            on_drained=self._hub.drained,
            on_silenced=self.silence,
        )
        self._presence = Presence(
            namespaces,
            max_members=settings.presence_members,
            member_of=self._introduce,
            call_soon=lambda callback: asyncio.get_running_loop().call_soon(callback),
            call_later=lambda seconds, callback: asyncio.get_running_loop().call_later(
                seconds, callback
            ),
        )
        self._subscriptions = Subscriptions(
            broker,
            self._hub,
            self._backfill,
            namespaces,
            self._presence,
            limit=settings.max_subscriptions,
            pattern_limit=settings.max_pattern_channels,
        )
        broker.watch(self._subscriptions)

    def not_ready(self) -> str | None:
        """Why this node should get no new clients; ``None`` when it should."""
        if self.connections.draining:
            return "draining"
        return self.broker.trouble

    def state(self) -> State:
        """How it is just now, in numbers."""
        return State(
            blocked=self.connections.stuck,
            patterns=self._subscriptions.patterns,
            channels=len(self._hub.feeds),
            held_bytes=self._hub.held_bytes,
            trouble=self.broker.trouble is not None,
            draining=self.connections.draining,
        )

    def silence(self, sink: Sink) -> None:
        """End all the sink's subscriptions."""
        self._subscriptions.leave_all(sink)

    # --- use cases ---

    async def publish(
        self,
        notification: Notification,
        channel: object,
        *,
        producer: str,
        key: str | None = None,
        id: str | None = None,
    ) -> Published:
        """Store the notification in the channel and announce it to every node.

        :param key: the idempotency key; it is told apart by producer and channel.
        :param id: for a notification that has none of its own; else one is made.
        :raises NotifierError: nothing is known to be stored.
        """
        name = check_channel(channel)
        id = notification.id or id or new_id()
        draft = notification.draft(name, id=id, now_ms=self.now_ms())
        idempotency = None
        if key is not None:
            scoped = f"{producer}\n{name}\n{key}"
            idempotency = Idempotency(scoped, notification.fingerprint())
        receipt = await self.broker.publish(draft, idempotency)
        return Published(
            receipt.id, name, receipt.position, self._hub.subscribers(name), receipt.repeated
        )

    async def subscribe(self, sink: Sink, channel: str, since: Since, listener: Listener) -> None:
        """Deliver the channel to the sink; the listener is told before the first delivery.

        :raises AlreadySubscribed:
        :raises PresenceOff: it was asked for.
        :raises TooManySubscriptions:
        :raises BrokerUnavailable:
        """
        await self._subscriptions.join(sink, channel, since, listener)

    async def subscribe_pattern(
        self, sink: Sink, pattern: Pattern, start_of: Starts, listener: Listener
    ) -> list[Joined]:
        """Deliver all channels of the pattern, and from their first publication those that come
        to life later; the listener is told of each.

        :returns: those there are already and that the sink did not follow before.
        :raises AlreadySubscribed: to the very same pattern.
        :raises TooManySubscriptions: with all its channels.
        :raises BrokerUnavailable:
        """
        return await self._subscriptions.join_pattern(sink, pattern, start_of, listener)

    def unsubscribe(self, sink: Sink, name: str) -> None:
        """End the subscription to the channel, or to the pattern and all that it alone brought.

        :raises NotSubscribed:
        """
        self._subscriptions.leave(sink, name)

    def places(self, sink: Sink) -> dict[str, Position]:
        """Up to where the sink has been sent everything, by channel; without ephemeral ones."""
        return self._hub.places(sink)

    def crowded(self, channel: str) -> bool:
        """Whether so much of the channel waits to be sent that more would make live subscribers
        fall behind. Who publishes without end waits until it is not.
        """
        feed = self._hub.feeds.get(channel)
        return feed is not None and feed.tail.ring.crowded(feed.flushed)

    async def history(
        self,
        channel: str,
        since: str | None,
        limit: int | None,
        *,
        before: Position | None = None,
        newest_first: bool = False,
        key: str | None = None,
    ) -> History:
        """A page of the channel's history; from the beginning where ``since`` is not given.

        :param key: only those with this key.
        :raises BadSince:
        :raises BadParameter:
        :raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        start = starts(since or "all", [channel], now_ms=self.now_ms())(channel)
        self.counts.history_reads["client"] += 1
        page = await self.broker.history(
            channel,
            start,
            _checked_limit(limit),
            before=before,
            newest_first=newest_first,
            key=key,
        )
        if page.head is None or page.head.offset == 0:
            self._check_followed(channel)
        return page

    async def replay(self, channel: str, since: Since) -> AsyncIterator[History]:
        """All that history has from there on, page by page, one at least.

        :raises BrokerUnavailable:
        """
        self.counts.history_reads["client"] += 1
        page = await self.broker.history(channel, since, MAX_LIMIT)
        yield page
        while page.more:
            self.counts.history_reads["client"] += 1
            page = await self.broker.history(channel, After(page.end), MAX_LIMIT)
            yield page

    async def clear(self, channel: str) -> int:
        """Delete the channel's history; how many publications that were.

        :raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        deleted = await self.broker.clear(channel)
        if not deleted and await self.broker.channel(channel) is None:
            self._check_followed(channel)
        return deleted

    async def channel(self, channel: str) -> ChannelOverview:
        """:raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        state = await self.broker.channel(channel)
        if state is None:
            self._check_followed(channel)
        return ChannelOverview(channel, state, self._hub.subscribers(channel))

    async def channels(self, pattern: Pattern, after: str, limit: int | None) -> ChannelPage:
        """Channels that match and come after a name: those that were published to, and those
        that somebody on this node follows.

        :raises BadParameter:
        :raises BrokerUnavailable:
        """
        count = _checked_limit(limit)
        # One more than the page holds, to know whether there is a next.
        known = {
            state.channel: state for state in await self.broker.channels(pattern, after, count + 1)
        }
        followed = await self._followed(pattern, after)
        names = heapq.nsmallest(count + 1, known.keys() | followed)
        return ChannelPage(
            [
                ChannelOverview(name, known.get(name), self._hub.subscribers(name))
                for name in names[:count]
            ],
            names[count - 1] if len(names) > count else None,
        )

    async def presence(self, channel: str) -> Members:
        """Who is on the channel, of the connections to this node.

        :raises NoSuchChannel:
        :raises BrokerUnavailable:
        """
        if not self._hub.subscribers(channel) and await self.broker.channel(channel) is None:
            self._check_followed(channel)
        if self._presence.is_on(channel):
            return self._presence.of(channel)
        return Members(channel, self._hub.subscribers(channel), None)

    def check_presence(self, channel: str) -> None:
        """:raises PresenceOff: who is on the channel is not shown."""
        self._presence.check(channel)

    async def _followed(self, pattern: Pattern, after: str) -> set[str]:
        """Channels that somebody on this node follows."""
        found = set()
        for number, name in enumerate(list(self._hub.feeds), start=1):
            if number % SCAN_NAMES == 0:
                await asyncio.sleep(0)
            if name > after and self._hub.subscribers(name) and pattern.matches(name):
                found.add(name)
        return found

    def _check_followed(self, channel: str) -> None:
        """A channel that nobody published to exists while somebody listens."""
        if not self._hub.subscribers(channel):
            raise NoSuchChannel(
                f"Nothing was ever published to {channel!r}, and nobody listens to it.",
                channel=channel,
            )

    async def close(self) -> None:
        """Let go of everything; connections must be gone."""
        await self._subscriptions.close()
        await self._backfill.close()
        await self.broker.close()

    def sweep(self) -> bool:
        """Housekeeping; True when keep-alive wants another turn at once."""
        self.broker.sweep()
        return self.connections.sweep()

    def _introduce(self, sink: Sink) -> Member:
        return Member(self.connections[sink].id, sink.traffic.transport, self.now_ms())

    def _page_at_hand(self, subscription: Subscription) -> None:
        self._hub.behind(subscription)


def _checked_limit(limit: int | None) -> int:
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise BadParameter(f"limit is a number from 1 to {MAX_LIMIT}.", field="limit")
    return limit
