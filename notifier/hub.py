"""Who is listening on this node, and the turns in which they are served.

Publishing appends to a feed and marks it dirty; once per turn of the event loop the hub flushes
the dirty feeds, and each live socket gets one ``send`` with all that arrived since the last turn.
An idle server delivers at once; a busy one batches by itself, with no timer. A turn is bounded in
time, so that the loop still accepts, reads and answers in between.

Nothing is awaited here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from notifier.channels import Namespaces
from notifier.counts import Counts
from notifier.feed import Feed, Next
from notifier.notification import Position
from notifier.ring import Budget
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Start

# Seconds of one turn for passes: a pass over very many sockets is sliced. A slice is short, since
# a request takes turns of the loop, and each waits for one. Where others have held the loop for
# longer since the last, it is long: who publishes without end must not starve those who listen
# (ADR 0010).
SLICE_SECONDS = 0.001
LONG_SLICE_SECONDS = 0.008
# And for catching up, as ever: who publishes lines waits for passes and not for those behind.
CATCH_UP_SECONDS = 0.004


class Hub:
    """This node's fan-out.

    :param call_soon: run a callback in the next turn of the loop.
    :param clock: seconds, monotonic.
    :param now_ms: milliseconds since 1970.
    :param on_history: told which subscription fell off its ring; answer by
        :meth:`~notifier.feed.Feed.turn_page` and :meth:`behind`.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        feed_size: int,
        feed_bytes: int,
        feeds_bytes: int,
        counts: Counts,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
        now_ms: Callable[[], int],
        on_history: Callable[[Feed, Subscription], None],
    ) -> None:
        self.feeds: dict[str, Feed] = {}
        self._namespaces = namespaces
        self._feed_size = feed_size
        self._feed_bytes = feed_bytes
        self._budget = Budget(feeds_bytes)
        self._counts = counts
        self._call_soon = call_soon
        self._clock = clock
        self._now_ms = now_ms
        self._on_history = on_history
        self._followed: dict[Sink, dict[str, Subscription]] = {}
        self._dirty: deque[Feed] = deque()
        self._behind: dict[Subscription, None] = {}
        self._scheduled = False
        # When the last turn ended, if it left something to this one.
        self._left_off: float | None = None

    @property
    def held_bytes(self) -> int:
        """What all feeds hold together."""
        return self._budget.used

    def subscribers(self, channel: str) -> int:
        """Connections on this node that follow the channel."""
        feed = self.feeds.get(channel)
        return 0 if feed is None else len(feed.subscriptions)

    def of(self, sink: Sink) -> Mapping[str, Subscription]:
        """What the sink follows, by channel."""
        return self._followed.get(sink, {})

    def places(self, sink: Sink) -> dict[str, Position]:
        """Up to where the sink has been sent everything, by channel; without ephemeral ones."""
        places = {
            channel: self._feed(subscription).place(subscription)
            for channel, subscription in self.of(sink).items()
        }
        return {channel: place for channel, place in places.items() if place is not None}

    def attach(self, sink: Sink, channel: str, pattern: str | None = None) -> Subscription:
        """Register the sink with the channel's feed, which is made if need be.

        Nothing is delivered before :meth:`begin`.

        :param pattern: what brought the channel, if it was not asked for by name.
        """
        feed = self.feeds.get(channel)
        if feed is None:
            feed = self.feeds[channel] = Feed(
                channel,
                self._namespaces.of(channel),
                feed_size=self._feed_size,
                feed_bytes=self._feed_bytes,
                budget=self._budget,
                counts=self._counts,
                on_dirty=self._mark,
                on_behind=self.behind,
            )
        subscription = Subscription(channel, sink, pattern)
        feed.subscriptions.add(subscription)
        self._counts.subscriptions += 1
        self._followed.setdefault(sink, {})[channel] = subscription
        return subscription

    def begin(self, subscription: Subscription, start: Start) -> None:
        """Deliver from here on."""
        if subscription.standing is not Standing.JOINING:
            return  # gone in the meantime
        subscription.after = start.position
        if start.page is not None:
            subscription.standing = Standing.LOADING
            self._feed(subscription).turn_page(subscription, start.page)
        else:
            assert start.cursor is not None
            subscription.cursor = start.cursor
            subscription.standing = Standing.BEHIND
        self.behind(subscription)

    def detach(self, subscription: Subscription) -> Feed | None:
        """Take the subscription out. Its feed, when nobody is left on it."""
        if subscription.standing is Standing.GONE:
            return None
        feed = self._feed(subscription)
        feed.leave(subscription)
        self._counts.subscriptions -= 1
        self._behind.pop(subscription, None)
        followed = self._followed[subscription.sink]
        del followed[subscription.channel]
        if not followed:
            del self._followed[subscription.sink]
        if feed.subscriptions:
            return None
        del self.feeds[feed.channel]
        feed.close()
        return feed

    def _feed(self, subscription: Subscription) -> Feed:
        """The feed it is on, which lives as long as anybody is."""
        return self.feeds[subscription.channel]

    # --- what sinks tell ---

    def blocked(self, sink: Sink) -> None:
        """The sink's kernel buffer is full: its subscriptions leave live."""
        for subscription in self.of(sink).values():
            self._feed(subscription).fall_behind(subscription)

    def drained(self, sink: Sink) -> None:
        """It can be written to again: they catch up."""
        for subscription in self.of(sink).values():
            if subscription.standing is Standing.BEHIND:
                self.behind(subscription)

    # --- turns ---

    def behind(self, subscription: Subscription) -> None:
        """Give the subscription a turn of catching up."""
        if subscription.standing is Standing.GONE:
            return
        self._behind[subscription] = None
        self._schedule()

    def _mark(self, feed: Feed) -> None:
        if not feed.marked:
            feed.marked = True
            self._dirty.append(feed)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        slice_seconds = self._slice()
        self._flush(self._clock() + slice_seconds)
        self._catch_up(self._clock() + CATCH_UP_SECONDS)
        if self._dirty or self._behind:
            self._left_off = self._clock()
            self._schedule()
        else:
            self._left_off = None

    def _slice(self) -> float:
        """Seconds for passes in this turn."""
        if self._left_off is None:
            return SLICE_SECONDS
        others_seconds = self._clock() - self._left_off
        return LONG_SLICE_SECONDS if others_seconds > SLICE_SECONDS else SLICE_SECONDS

    def _flush(self, deadline: float) -> None:
        dirty, clock = self._dirty, self._clock
        while dirty:
            feed = dirty[0]
            if not feed.run(deadline, clock):
                dirty.rotate(-1)  # a small channel does not wait for all of a large one's pass
                return
            dirty.popleft()
            if feed.dirty:
                dirty.append(feed)
            else:
                feed.marked = False
            if clock() >= deadline:
                return

    def _catch_up(self, deadline: float) -> None:
        now_ms = self._now_ms()
        while self._behind:
            subscription = next(iter(self._behind))
            del self._behind[subscription]
            feed = self._feed(subscription)
            match feed.catch_up(subscription, now_ms):
                case Next.TURN:
                    self._behind[subscription] = None
                case Next.HISTORY:
                    self._on_history(feed, subscription)
                case Next.NOTHING:
                    pass
            if self._clock() >= deadline:
                return
