"""The use cases of one server process: publish, subscribe, history.

Handlers talk to a node and to nothing below it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

from notifier.administration import Administration
from notifier.auth.authenticator import Authenticator
from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.rules import OPEN, Access
from notifier.auth.scopes import Scope
from notifier.backfill import Backfill
from notifier.brokers.base import Broker, Idempotency
from notifier.brokers.fleet import Fleet
from notifier.channels import Namespaces, Pattern, check_channel, check_name
from notifier.config import Origin, Settings
from notifier.connections import Connection, Connections, end
from notifier.counts import Counts
from notifier.crew import NodeCrew
from notifier.directory import Directory
from notifier.errors import AuthenticationTimeout, ExpiredCredential, NotifierError
from notifier.history import MAX_LIMIT, History, checked_limit
from notifier.hub import Hub
from notifier.ids import new_ids
from notifier.limits import Pace, Rate
from notifier.listener import Joined, Listener
from notifier.members import Member
from notifier.metrics import State
from notifier.notification import Notification, Position
from notifier.presence import Presence
from notifier.publishrate import PublishRate
from notifier.requests import Requests
from notifier.residents import Residents
from notifier.sink import Sink
from notifier.strangers import Strangers
from notifier.subscription import Subscription
from notifier.subscriptions import Subscriptions
from notifier.value import value
from notifier.wire.resume import After, Since, Starts, starts


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@value
class Published:
    """The answer to a producer."""

    id: str
    channel: str
    position: Position | None
    subscribers: int
    repeated: bool = False


class Node:
    """One server process: its broker, its fleet, its hub, its connections.

    :ivar origins: where the settings came from, as far as is known.
    :ivar access: who may do what; handlers ask it before they ask the node.
    :ivar authenticator: who is who.
    :ivar administration: what those who run the service may do.
    :param now_ms: milliseconds since 1970.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        fleet: Fleet,
        namespaces: Namespaces,
        *,
        origins: Mapping[str, Origin] = MappingProxyType({}),
        access: Access = OPEN,
        authenticator: Authenticator | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.origins = origins
        self.access = access
        self.authenticator = authenticator or Authenticator(
            lambda: now_ms() / 1000, shelf=fleet.shelf
        )
        self.broker = broker
        self._fleet = fleet
        self.now_ms = now_ms
        self.clock = clock
        self.new_id: Callable[[], str] = new_ids().__next__
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
        self._longest_name = settings.max_channel_name_bytes
        self.requests = Requests()
        publishes = settings.max_publishes_per_second
        # Of each producer; none where there is no limit.
        self.publish_rate = (
            PublishRate(
                publishes,
                clock,
                at_once=settings.max_batch * settings.max_channels_per_notification,
                on_taken=fleet.spend,
            )
            if publishes
            else None
        )
        commands = settings.max_commands_per_second
        # Of each WebSocket; none where there is no limit.
        self.command_pace = Pace(Rate(commands, 2 * commands)) if commands else None
        self.connections = Connections(
            settings,
            self.counts,
            Strangers(settings.authenticate_timeout if access.authenticates else 0.0),
            clock=clock,
            on_blocked=self._hub.blocked,
            on_drained=self._hub.drained,
            on_silenced=self.silence,
        )
        self._presence = Presence(
            namespaces,
            max_members=settings.presence_members,
            member_of=self._introduce,
            gather=fleet.gather,
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
            on_changed=fleet.attend,
        )
        broker.watch(self._subscriptions)
        self.directory = Directory(broker, fleet, self._hub, self._presence)
        self.residents = Residents(
            fleet.id,
            self.connections,
            self._subscriptions,
            self.authenticator,
            now=lambda: now_ms() / 1000,
        )
        self.administration = Administration(fleet, self.residents)
        self._crew = NodeCrew(
            fleet.id,
            broker=broker,
            connections=self.connections,
            counts=self.counts,
            hub=self._hub,
            presence=self._presence,
            publish_rate=self.publish_rate,
            residents=self.residents,
            now_ms=now_ms,
        )
        fleet.enlist(self._crew)

    @property
    def id(self) -> str:
        """What the other nodes call it; new for each process."""
        return self._fleet.id

    @property
    def prompt(self) -> bool:
        """Whether what is published is stored without a wait."""
        return self.broker.prompt

    def not_ready(self) -> str | None:
        """Why this node should get no new clients; ``None`` when it should."""
        return self._crew.not_ready()

    def state(self) -> State:
        """How it is just now, in numbers."""
        return State(
            blocked=self.connections.stuck,
            patterns=self._subscriptions.patterns,
            channels=len(self._hub.feeds),
            held_bytes=self._hub.held_bytes,
            trouble=self.broker.trouble is not None,
            draining=self.connections.draining,
            revocations=len(self.authenticator.revocations),
            forgotten_revocations=self.authenticator.revocations.forgotten,
            api_keys_trouble=self.authenticator.api_keys_trouble is not None,
            keys_trouble=self.authenticator.keys_trouble is not None,
        )

    def silence(self, sink: Sink) -> None:
        """End all the sink's subscriptions."""
        self._subscriptions.leave_all(sink)

    # --- who is there ---

    def identity_of(self, sink: Sink) -> Identity:
        """Who the sink's connection is; nobody in particular once it is gone."""
        connection = self.connections.get(sink)
        return ANYBODY if connection is None else connection.identity

    async def authenticate(self, sink: Sink, credential: str) -> Identity:
        """Let the sink's connection be who this key or token is of; what that one may not follow
        ends, and its client is told.

        :raises BadCredential:
        :raises ExpiredCredential:
        :raises TooManyConnectionsOfUser:
        """
        identity = await self.authenticator.identify(credential)
        connection = self.connections.get(sink)
        if connection is not None:
            self.connections.renew(connection, identity)
            self._recheck(connection)
        return identity

    def _recheck(self, connection: Connection) -> None:
        """Of what the connection follows, end what it may not, and say elsewhere who follows it."""
        sink = connection.sink
        for name in self._subscriptions.names(sink):
            try:
                self.access.check(connection.identity, Scope.SUBSCRIBE, name)
            except NotifierError as refusal:
                self.unsubscribe(sink, name)
                connection.deprive(name, refusal)
                continue
            try:
                self.access.check(connection.identity, Scope.PRESENCE, name)
            except NotifierError:
                self._subscriptions.watch_no_more(sink, name)
        for channel in list(self._hub.of(sink)):
            if self._presence.introduce_anew(channel, sink):
                self._fleet.attend(channel)

    # --- use cases ---

    def check_channel(self, name: object) -> str:
        """The name itself, when it is a channel's and no longer than the settings allow.

        :raises BadChannel:
        :raises ChannelTooLong:
        """
        return check_channel(name, longest=self._longest_name)

    def check_name(self, name: object) -> str:
        """As :meth:`check_channel`, of a channel or a pattern.

        :raises BadChannel:
        :raises ChannelTooLong:
        """
        return check_name(name, longest=self._longest_name)

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
        name = self.check_channel(channel)
        id = notification.id or id or self.new_id()
        draft = notification.draft(name, id=id, now_ms=self.now_ms())
        idempotency = None
        if key is not None:
            scoped = f"{producer}\n{name}\n{key}"
            idempotency = Idempotency(scoped, notification.fingerprint())
        receipt = await self.broker.publish(draft, idempotency)
        return Published(
            receipt.id, name, receipt.position, self._hub.subscribers(name), receipt.repeated
        )

    async def subscribe(
        self, sink: Sink, channel: str, since: Since, listener: Listener
    ) -> Joined | None:
        """Deliver the channel to the sink; the listener is told before the first delivery.

        :returns: ``None``: it was ended before it began, or its client has left.
        :raises AlreadySubscribed:
        :raises PresenceOff: it was asked for.
        :raises TooManySubscriptions:
        :raises BrokerUnavailable:
        """
        return await self._subscriptions.join(sink, channel, since, listener)

    async def subscribe_pattern(
        self, sink: Sink, pattern: Pattern, start_of: Starts, listener: Listener
    ) -> list[Joined] | None:
        """Deliver all channels of the pattern, and from their first publication those that come
        to life later; the listener is told of each.

        :returns: those there are already and that the sink did not follow before; ``None``: it was
            ended before all had joined, or its client has left.
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

    def crowded(self, channel: str, more: int) -> bool:
        """Whether so much of the channel waits to be sent that more would make live subscribers
        fall behind. Who publishes without end waits until it is not.

        :param more: bytes that are to come, as a feed counts them.
        """
        feed = self._hub.feeds.get(channel)
        return feed is not None and feed.tail.ring.crowded(feed.flushed, more)

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
            checked_limit(limit),
            before=before,
            newest_first=newest_first,
            key=key,
        )
        if page.head is None or page.head.offset == 0:
            await self.directory.check_followed(channel)
        return page

    async def replay(self, channel: str, since: Since) -> AsyncIterator[History]:
        """All that history has now from there on, page by page, one at least. The last may hold
        some that came meanwhile; however slowly they are taken, there is a last.

        :raises BrokerUnavailable:
        """
        self.counts.history_reads["client"] += 1
        page = await self.broker.history(channel, since, MAX_LIMIT)
        head = page.head
        yield page
        while page.more and not _is_past(page.end, head):
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
            await self.directory.check_followed(channel)
        return deleted

    def check_presence(self, channel: str) -> None:
        """:raises PresenceOff: who is on the channel is not shown."""
        self._presence.check(channel)

    async def open(self, port: int) -> None:
        """Begin, with clients to come at the port.

        :raises CannotOpen:
        """
        self._crew.port = port
        await self.broker.open()
        await self._fleet.open()

    async def close(self) -> None:
        """Let go of everything; connections must be gone."""
        await self._subscriptions.close()
        await self._backfill.close()
        await self._fleet.close()
        await self.residents.close()
        await self.broker.close()

    def sweep(self) -> bool:
        """Housekeeping; True when keep-alive wants another turn at once."""
        self.broker.sweep()
        if self.publish_rate is not None:
            self.publish_rate.sweep()
        now = self.now_ms() / 1000
        for connection in self.connections.expired(now):
            end(connection, ExpiredCredential("The time of your key or token is over."))
        for connection in self.connections.useless(
            lambda sink: bool(self._subscriptions.names(sink))
        ):
            self.counts.errors[AuthenticationTimeout.code] += 1
            why = "Show a key or a token, or follow something that is public."
            end(connection, AuthenticationTimeout(why))
        return self.connections.sweep()

    def _introduce(self, sink: Sink) -> Member:
        connection = self.connections[sink]
        return Member(
            connection.id,
            sink.traffic.transport,
            self.now_ms(),
            self._fleet.id,
            user=connection.identity.user,
            info=connection.identity.info,
        )

    def _page_at_hand(self, subscription: Subscription) -> None:
        self._hub.behind(subscription)


def _is_past(place: Position, head: Position | None) -> bool:
    return head is not None and place.epoch == head.epoch and place.offset >= head.offset
