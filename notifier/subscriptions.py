"""Joining and leaving: what the connections of a node follow, by name and by pattern."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from notifier.backfill import Backfill
from notifier.brokers.base import Broker, Receiver
from notifier.channels import Namespaces, Pattern, is_pattern
from notifier.errands import Errands
from notifier.errors import AlreadySubscribed, NotifierError, NotSubscribed, TooManySubscriptions
from notifier.hub import Hub
from notifier.listener import Joined, Listener
from notifier.notification import Gap, Position
from notifier.patterns import Patterns, PatternSubscription
from notifier.presence import Presence
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Start
from notifier.wire.resume import All, Latest, Since, Starts

# Channels of a pattern, or followers of a newborn one, that join before everybody has a turn.
BREATH = 32


class Subscriptions:
    """Everything that the connections of this node follow; the broker's
    :class:`~notifier.brokers.base.Watcher`.

    :param limit: channels and patterns that one connection may ask for.
    :param pattern_limit: channels that patterns may bring to it.
    :param on_changed: told of a channel, when others follow it than before.
    """

    def __init__(
        self,
        broker: Broker,
        hub: Hub,
        backfill: Backfill,
        namespaces: Namespaces,
        presence: Presence,
        *,
        limit: int,
        pattern_limit: int,
        on_changed: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._hub = hub
        self._backfill = backfill
        self._namespaces = namespaces
        self._presence = presence
        self._limit = limit
        self._pattern_limit = pattern_limit
        self._on_changed = on_changed
        # Subscriptions to newborn channels that have yet to begin.
        self._newborn: deque[tuple[Subscription, PatternSubscription, Start]] = deque()
        self._patterns = Patterns()
        self._errands = Errands()

    @property
    def patterns(self) -> int:
        """Subscriptions to a pattern."""
        return self._patterns.count

    # --- joining ---

    async def join(
        self, sink: Sink, channel: str, since: Since, listener: Listener
    ) -> Joined | None:
        """Deliver the channel to the sink.

        :returns: ``None``: it was ended before it began, or its client has left.
        :raises AlreadySubscribed:
        :raises PresenceOff: it was asked for.
        :raises TooManySubscriptions:
        :raises BrokerUnavailable:
        """
        if sink.closed:
            return None  # nobody would take it out again
        known = self._hub.of(sink).get(channel)
        if known is not None:
            by = "" if known.pattern is None else f", by the pattern {known.pattern}"
            raise AlreadySubscribed(f"This connection is subscribed to {channel!r} already{by}.")
        if listener.presence:
            self._presence.check(channel)
        self._check_room(sink)
        return await self._join(sink, channel, since, listener)

    async def join_pattern(
        self, sink: Sink, pattern: Pattern, start_of: Starts, listener: Listener
    ) -> list[Joined] | None:
        """Deliver all its channels, also those that are yet to be born.

        Where presence was asked for, it is told of those that show it, also of those that the
        sink followed before.

        :returns: those there are already and that the sink did not follow before; ``None``: it was
            ended before all had joined, or its client has left.
        :raises AlreadySubscribed: to the very same pattern.
        :raises TooManySubscriptions: with all its channels.
        :raises BrokerUnavailable:
        """
        if sink.closed:
            return None
        if pattern.text in self._patterns.of(sink):
            raise AlreadySubscribed(f"This connection is subscribed to {pattern.text!r} already.")
        self._check_room(sink)
        subscription = PatternSubscription(pattern, sink, start_of, listener)
        # Before anything is awaited: what is born meanwhile joins.
        self._patterns.add(subscription)
        try:
            await self._follow_pattern(subscription)
            found = await self._join_all(subscription)
        except BaseException as failure:
            if self._is_followed(subscription):
                self._end(subscription)
            elif isinstance(failure, NotifierError):
                return None  # nobody wants to know
            raise
        if not self._is_followed(subscription) or sink.closed:
            return None
        if listener.presence:
            for followed in self._hub.of(sink).values():
                self._watch(followed)
        return found

    async def _follow_pattern(self, pattern: PatternSubscription) -> None:
        await self._broker.follow(pattern.pattern)
        if self._is_followed(pattern):
            pattern.followed = True
        else:  # its client has left
            self._broker.unfollow(pattern.pattern)

    def _is_followed(self, pattern: PatternSubscription) -> bool:
        """Whether it is still wanted; asked anew after all that was awaited."""
        return self._patterns.of(pattern.sink).get(pattern.pattern.text) is pattern

    async def _join_all(self, pattern: PatternSubscription) -> list[Joined]:
        sink = pattern.sink
        states = await self._broker.channels(
            pattern.pattern, "", self._pattern_limit + 1, unborn=True
        )
        known = [
            *(state.channel for state in states),
            # Where the client was, though its log may be lost: of that it must be told.
            *filter(pattern.pattern.matches, pattern.start_of.places),
            # Ephemeral ones are known only by who listens to them.
            *(
                name
                for name in self._hub.feeds
                if self._namespaces.of(name).ephemeral and pattern.pattern.matches(name)
            ),
        ]
        names = [name for name in dict.fromkeys(known) if name not in self._hub.of(sink)]
        self._check_pattern_room(sink, len(names))
        found = []
        for count, name in enumerate(names, start=1):
            if count % BREATH == 0:
                await asyncio.sleep(0)
            if sink.closed or not self._is_followed(pattern):
                break  # the client has left, or wants it no more
            if name in self._hub.of(sink):
                continue  # joined at its birth, or by name
            self._check_pattern_room(sink)  # some may have been born in the meantime
            joined = await self._join(
                sink, name, pattern.start_of(name), pattern.listener, pattern=pattern.pattern.text
            )
            if joined is not None:
                found.append(joined)
        return found

    async def _join(
        self,
        sink: Sink,
        channel: str,
        since: Since,
        listener: Listener,
        *,
        pattern: str | None = None,
    ) -> Joined | None:
        """``None``: the client left while we asked, or it was ended."""
        opening = channel not in self._hub.feeds
        # Attached before anything is awaited: what is published meanwhile is in the feed.
        subscription = self._attach(sink, channel, pattern)
        subscription.presence = listener.presence and pattern is None
        feed = self._hub.feeds[channel]
        if opening and self._namespaces.of(channel).ephemeral:
            self._bring_followers(channel)
        try:
            await self._backfill.open(feed)
            start = await self._backfill.start(feed, since)
            if sink.closed or subscription.standing is not Standing.JOINING:
                self._detach(subscription)
                return None
            joined = Joined(channel, start.position, start.gap, subscription.pattern)
            listener.joined(joined)
        except BaseException as failure:
            if subscription.standing is Standing.GONE and isinstance(failure, NotifierError):
                return None  # nobody wants to know
            self._detach(subscription)
            if pattern is None or subscription.pattern != pattern:
                self._hand_to_a_pattern(sink, channel)
            raise
        if joined.gap is not None:
            sink.traffic.gaps["start"] += 1
        self._begin(subscription, start)
        return joined

    def _begin(self, subscription: Subscription, start: Start) -> None:
        """Its client has been told that it is joined."""
        self._hub.begin(subscription, start)
        # Told so, it may have been closed for the gap.
        if subscription.standing is not Standing.GONE and self._presence.is_on(
            subscription.channel
        ):
            self._presence.join(subscription.channel, subscription.sink)
            self._on_changed(subscription.channel)
            self._watch(subscription)

    def _attach(self, sink: Sink, channel: str, pattern: str | None) -> Subscription:
        subscription = self._hub.attach(sink, channel, pattern)
        self._on_changed(channel)
        return subscription

    def _watch(self, subscription: Subscription) -> None:
        """If its client has asked, by name or by pattern, to be told who is on the channel."""
        if self._watches(subscription):
            self._presence.watch(subscription.channel, subscription.sink)

    def _watches(self, subscription: Subscription) -> bool:
        return subscription.presence or any(
            pattern.listener.presence and pattern.pattern.matches(subscription.channel)
            for pattern in self._patterns.of(subscription.sink).values()
        )

    def _check_room(self, sink: Sink) -> None:
        followed = self._hub.of(sink).values()
        named = sum(subscription.pattern is None for subscription in followed)
        if named + len(self._patterns.of(sink)) >= self._limit:
            raise TooManySubscriptions(
                f"A connection may have {self._limit} subscriptions (setting max_subscriptions).",
                limit=self._limit,
            )

    def _check_pattern_room(self, sink: Sink, more: int = 1) -> None:
        followed = self._hub.of(sink)
        if len(followed) + more <= self._pattern_limit:
            return  # without counting
        brought = sum(subscription.pattern is not None for subscription in followed.values())
        if brought + more > self._pattern_limit:
            raise TooManySubscriptions(
                f"Patterns may bring {self._pattern_limit} channels to a connection (setting "
                "max_pattern_channels).",
                limit=self._pattern_limit,
            )

    # --- channels that come to life ---

    def born(self, channel: str, head: Position | None) -> Receiver | None:
        newborn = []
        for pattern in self._patterns.matching(channel):
            if pattern.full or channel in self._hub.of(pattern.sink):
                continue
            if _was_there(pattern.start_of.places.get(channel), head):
                # News to this node alone: its client goes on where it was.
                self._errands.run(self._follow(pattern, channel, pattern.start_of(channel)))
                continue
            try:
                self._check_pattern_room(pattern.sink)
            except TooManySubscriptions as refusal:
                # Told once: a flood of channels must not become one of messages.
                pattern.full = True
                pattern.listener.refused(channel, refusal)
            else:
                attached = self._attach(pattern.sink, channel, pattern.pattern.text)
                newborn.append((attached, pattern))
        if not newborn:
            return None
        feed = self._hub.feeds[channel]
        self._backfill.adopt(feed)
        start = Start(head, cursor=feed.tail.ring.end)
        # They begin in a while, when the broker has made the feed the channel's receiver.
        if not self._newborn:
            self._errands.run(self._begin_newborn())
        self._newborn.extend((attached, pattern, start) for attached, pattern in newborn)
        return feed

    async def _begin_newborn(self) -> None:
        await asyncio.sleep(0)
        while self._newborn:
            for _ in range(min(BREATH, len(self._newborn))):
                subscription, pattern, start = self._newborn.popleft()
                try:
                    self._begin_one(subscription, pattern, start)
                except Exception as fault:  # noqa: BLE001
                    # Ours, and one connection's: the others are not to wait for ever.
                    subscription.sink.abort("fault")
                    loop = asyncio.get_running_loop()
                    context = {"message": "a newborn channel was not begun", "exception": fault}
                    loop.call_exception_handler(context)
            await asyncio.sleep(0)

    def _begin_one(
        self, subscription: Subscription, pattern: PatternSubscription, start: Start
    ) -> None:
        if subscription.sink.closed:
            self._detach(subscription)
        if subscription.standing is not Standing.JOINING:
            return  # gone in the meantime
        channel = subscription.channel
        gap = _gap_at_birth(channel, pattern.start_of.places.get(channel), start.position)
        try:
            pattern.listener.joined(
                Joined(channel, start.position, gap, pattern=subscription.pattern)
            )
        except NotifierError as refusal:
            self._detach(subscription)
            pattern.listener.refused(channel, refusal)
        else:
            self._begin(subscription, start)

    def _bring_followers(self, channel: str) -> None:
        """Somebody listens to an ephemeral channel now, so no birth of it will be told."""
        for pattern in self._patterns.matching(channel):
            if channel not in self._hub.of(pattern.sink):
                self._errands.run(self._follow(pattern, channel, Latest()))

    def _hand_to_a_pattern(self, sink: Sink, channel: str) -> None:
        """What should have brought it failed; a pattern that passed it over for that has it now."""
        pattern = self._patterns.wanting(sink, channel)
        if pattern is not None:
            since = pattern.start_of(channel)
            # It may have been born since: nothing of it may be missed.
            since = All() if isinstance(since, Latest) else since
            self._errands.run(self._follow(pattern, channel, since))

    async def _follow(self, pattern: PatternSubscription, channel: str, since: Since) -> None:
        sink = pattern.sink
        if not self._is_followed(pattern):
            # Ended before its turn. Another one was passed over for it, if there is one.
            heir = self._patterns.wanting(sink, channel)
            if heir is None:
                return
            pattern = heir
        if sink.closed or channel in self._hub.of(sink):
            return
        try:
            self._check_pattern_room(sink)
            await self._join(sink, channel, since, pattern.listener, pattern=pattern.pattern.text)
        except NotifierError as refusal:
            # Else its client was told that it has ended, and nothing comes after that.
            if self._is_followed(pattern):
                pattern.listener.refused(channel, refusal)

    # --- leaving ---

    def names(self, sink: Sink) -> list[str]:
        """Of the channels and patterns that it has asked for."""
        followed = self._hub.of(sink).values()
        named = [subscription.channel for subscription in followed if not subscription.pattern]
        return [*self._patterns.of(sink), *named]

    def watch_no_more(self, sink: Sink, name: str) -> None:
        """Tell the sink no longer who is on the channel, or on those of the pattern, also if it had
        asked; on what another of its patterns shows, it still is.
        """
        pattern = self._patterns.of(sink).get(name)
        if pattern is not None:
            pattern.listener = replace(pattern.listener, presence=False)
        for channel, subscription in self._hub.of(sink).items():
            if channel == name:
                subscription.presence = False
            if channel == name or pattern is not None:
                self._unwatch(subscription)

    def leave(self, sink: Sink, name: str) -> None:
        """End the subscription to the channel, or to the pattern.

        What another pattern of the sink brings goes on.

        :raises NotSubscribed:
        """
        if is_pattern(name):
            pattern = self._patterns.of(sink).get(name)
            if pattern is None:
                raise NotSubscribed(f"This connection is not subscribed to {name!r}.")
            self._end(pattern)
            return
        subscription = self._hub.of(sink).get(name)
        if subscription is None:
            raise NotSubscribed(f"This connection is not subscribed to {name!r}.")
        if subscription.pattern is not None:
            raise NotSubscribed(
                f"{name!r} came by the pattern {subscription.pattern}: unsubscribe from that."
            )
        subscription.presence = False
        self._release(subscription)

    def leave_all(self, sink: Sink) -> None:
        for pattern in list(self._patterns.of(sink).values()):
            self._forget(pattern)
        for subscription in list(self._hub.of(sink).values()):
            self._detach(subscription)

    def _forget(self, pattern: PatternSubscription) -> None:
        self._patterns.remove(pattern)
        if pattern.followed:
            self._broker.unfollow(pattern.pattern)

    def _end(self, pattern: PatternSubscription) -> None:
        self._forget(pattern)
        for subscription in list(self._hub.of(pattern.sink).values()):
            if subscription.pattern == pattern.pattern.text:
                self._release(subscription)
            elif pattern.listener.presence:
                self._unwatch(subscription)

    def _release(self, subscription: Subscription) -> None:
        """What brought it is over: a pattern that wants it as well has it now, if there is one."""
        heir = self._patterns.wanting(subscription.sink, subscription.channel)
        if heir is None:
            self._detach(subscription)
        else:
            subscription.pattern = heir.pattern.text
            self._unwatch(subscription)

    def _unwatch(self, subscription: Subscription) -> None:
        """If nothing that its client still follows asks who is on the channel."""
        if not self._watches(subscription):
            self._presence.unwatch(subscription.channel, subscription.sink)

    def _detach(self, subscription: Subscription) -> None:
        if subscription.standing is Standing.GONE:
            return  # its sink may have come back to the channel since
        abandoned = self._hub.detach(subscription)
        self._presence.leave(subscription.channel, subscription.sink)
        self._on_changed(subscription.channel)
        if abandoned is not None:
            self._backfill.abandon(abandoned)

    async def close(self) -> None:
        """End everything under way."""
        await self._errands.close()


def _was_there(had: Position | None, head: Position | None) -> bool:
    """Whether a client has heard more of the newborn log than its beginning."""
    return (
        had is not None
        and head is not None
        and had.epoch == head.epoch
        and had.offset > head.offset
    )


def _gap_at_birth(channel: str, had: Position | None, head: Position | None) -> Gap | None:
    """What is lost to a client that had a place in the channel before it was born anew."""
    if had is None or head is None or had.epoch == head.epoch:
        return None
    return Gap(channel, after=had, before=Position(head.epoch, head.offset + 1))
