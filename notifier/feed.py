"""One channel on this node: the tail of its log, and the cursors on it.

Live delivery, replay and slow clients are one mechanism. A publication is appended to the ring;
a *pass* sends the next stretch of it, ``[start, flushed)``, to every live subscription; all
others have a cursor below ``flushed``, read the same ring, and are live again when they get there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from notifier.channels import Namespace
from notifier.counts import Counts
from notifier.history import History
from notifier.lane import Lane, SharedLane, TailoredLane
from notifier.notification import Gap, Position, Publication
from notifier.ring import Budget
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Tail
from notifier.wire.prepared import Format, Prepared

# What one pass, or one stretch of catching up, sends a socket at most, reckoned as in the ring
# (about a third of it on the wire for short publications). Larger ones overflow socket buffers of
# clients that would have kept up.
STRETCH_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Pass:
    """One flush of a feed, under way: a fixed stretch of the ring.

    It keeps its items: the ring may be trimmed before the last socket is served.

    :param position: where everyone it serves stands before it.
    """

    start: int
    position: Position | None
    items: list[Prepared]


class Next(Enum):
    """What a subscription that was given a turn of catching up needs now."""

    NOTHING = "nothing"  # it is live, blocked, gone, or ahead of the passes
    TURN = "turn"  # another turn
    HISTORY = "history"  # it fell off the ring


class Feed:
    """The tail of one channel's log and everyone who follows it here.

    :param feed_size: items the ring holds for those who are behind; more while unflushed.
    :param on_dirty: told when there is something to flush.
    :param on_behind: told who wants a turn of catching up.
    """

    def __init__(
        self,
        channel: str,
        namespace: Namespace,
        *,
        feed_size: int,
        feed_bytes: int,
        budget: Budget,
        counts: Counts,
        on_dirty: Callable[[Feed], None],
        on_behind: Callable[[Subscription], None],
    ) -> None:
        self.channel = channel
        self.tail = Tail(
            channel, namespace, max_items=feed_size, max_bytes=feed_bytes, budget=budget
        )
        # Passes have been begun for everything before this.
        self.flushed = 0
        # How often history was deleted: what was read of it before must not be delivered.
        self.clearings = 0
        # In the hub's queue of dirty feeds.
        self.marked = False
        self.subscriptions: set[Subscription] = set()
        # One for each wire format, and one (None) for all who get bytes of their own.
        self._lanes: dict[Format | None, Lane] = {}
        self._counts = counts
        self._on_dirty = on_dirty
        self._on_behind = on_behind
        self._pass: Pass | None = None
        self._closed = False
        # Whose cursor the passes have yet to reach (a dict for its order).
        self._ahead: dict[Subscription, None] = {}

    # --- what the broker tells (brokers.base.Receiver) ---

    def begin(self, head: Position | None) -> None:
        self.tail.begin(head)

    def publication(self, publication: Publication) -> None:
        if not self._closed and self.tail.add(publication):
            self._grown()

    def gap(self, gap: Gap) -> None:
        if not self._closed:
            self.tail.add_gap(gap)
            self._grown()

    def cleared(self, head: Position) -> None:
        self.clearings += 1
        for subscription in self.subscriptions:
            subscription.page = []  # what comes next is looked for anew
        if not self._closed:
            self.tail.clear(keep_from=self.flushed)

    def _grown(self) -> None:
        ring = self.tail.ring
        self.tail.trim(keep_from=self.flushed)
        if ring.overfull and ring.end - self.flushed > 1:
            self._strand()
        self._on_dirty(self)

    def _strand(self) -> None:
        """More is unsent than the ring may hold: everyone live falls behind, to catch up alone.

        From history, where there is one; an ephemeral channel's oldest unsent items are gone.
        """
        for lane in self._lanes.values():
            for subscription in lane.members():
                self.fall_behind(subscription)
                self._on_behind(subscription)
        self.tail.trim(keep_from=self.tail.ring.end - 1)
        self.flushed = max(self.flushed, self.tail.ring.base)

    def warm(self, history: History) -> None:
        """Put history before the ring, so that everyone who comes back is served from it."""
        if not self._closed:
            self.tail.warm(history)
            self.tail.trim(keep_from=self.flushed)

    # --- passes ---

    @property
    def dirty(self) -> bool:
        """Whether there is something that no pass has been completed for."""
        return self._pass is not None or self.flushed < self.tail.ring.end

    def run(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Go on with the pass, or begin one; True when it is complete."""
        if self._pass is None:
            self._begin_pass()
        for lane in self._lanes.values():
            if not lane.walk(deadline, clock):
                return False
        self._pass = None
        self.tail.trim(keep_from=self.flushed)
        for subscription in [s for s in self._ahead if (s.cursor or 0) <= self.flushed]:
            del self._ahead[subscription]
            self._on_behind(subscription)
        return True

    def _begin_pass(self) -> None:
        start = self.flushed
        stop = self.tail.ring.cut(start, self.tail.ring.end, STRETCH_BYTES)
        items = self.tail.ring.slice(start, stop)
        gaps = [prepared.item for prepared in items if isinstance(prepared.item, Gap)]
        if gaps:
            self._part_with_those_who_cannot_be_told()
        self._pass = Pass(start, self.tail.position_at(start), items)
        self.flushed = stop
        receivers = 0
        for lane in self._lanes.values():
            if lane.count:
                receivers += lane.count
                lane.begin(items, gaps)
        if receivers:
            self._counts.receivers.observe(receivers)

    def _part_with_those_who_cannot_be_told(self) -> None:
        """A gap is ahead: it ends the connections whose format has no word for it."""
        for lane in self._lanes.values():
            for subscription in lane.members():
                if not subscription.sink.format.tells_gaps:
                    self.fall_behind(subscription)
                    self._on_behind(subscription)

    def _cut(self, subscription: Subscription, frames: list[bytes], sent: int) -> None:
        """The kernel did not take all of the pass."""
        assert self._pass is not None
        items = self._pass.items
        self._leave(subscription)
        self._counts.fell_behind += 1
        taken = subscription.sink.spill(frames, sent)
        if taken < len(items):
            subscription.sink.count(items[taken:], frames[taken:], -1)
        subscription.cursor = self._pass.start + taken
        subscription.after = items[taken - 1].item.position
        if not subscription.sink.blocked:
            # The rest went when it was handed over: the kernel had made room in between.
            self._on_behind(subscription)

    def _serve(self, subscription: Subscription) -> None:
        """Give one in the tailored lane what the pass has for it."""
        assert self._pass is not None
        items = self._pass.items
        taken = subscription.sink.push(items)
        if taken == len(items) and subscription.standing is Standing.LIVE:
            return
        self.fall_behind(subscription)
        subscription.cursor = self._pass.start + taken
        subscription.after = items[taken - 1].item.position if taken else self._pass.position
        self._on_behind(subscription)

    def _broken(self, subscription: Subscription) -> None:
        self._leave(subscription)
        subscription.sink.abort()

    # --- cursors ---

    def join(self, subscription: Subscription) -> None:
        """Live: from now on it has no cursor, it is where the feed is."""
        assert subscription.cursor == self.flushed
        subscription.standing = Standing.LIVE
        sink = subscription.sink
        key = _lane_key(sink)
        if key not in self._lanes:
            self._lanes[key] = (
                TailoredLane(self._serve)
                if sink.tailor
                else SharedLane(
                    sink.format,
                    traffic=sink.traffic,
                    on_short=self._cut,
                    on_error=self._broken,
                )
            )
        self._lanes[key].join(subscription)
        self._counts.live += 1

    def fall_behind(self, subscription: Subscription) -> None:
        """Leave live, and remember where that was."""
        if subscription.standing is not Standing.LIVE:
            return
        self._counts.fell_behind += 1
        unserved = self._leave(subscription)
        if unserved:
            assert self._pass is not None
            subscription.cursor, subscription.after = self._pass.start, self._pass.position
        else:
            subscription.cursor = self.flushed
            subscription.after = self.tail.position_at(self.flushed)

    def _leave(self, subscription: Subscription) -> bool:
        subscription.standing = Standing.BEHIND
        self._counts.live -= 1
        return self._lanes[_lane_key(subscription.sink)].leave(subscription)

    def place(self, subscription: Subscription) -> Position | None:
        """Up to where the subscription has been sent everything."""
        if subscription.standing is not Standing.LIVE:
            return subscription.after
        if self._pass and self._lanes[_lane_key(subscription.sink)].awaits(subscription):
            return self._pass.position
        return self.tail.position_at(self.flushed)

    def leave(self, subscription: Subscription) -> None:
        """Gone for good."""
        if subscription.standing is Standing.LIVE:
            self._leave(subscription)
        subscription.standing = Standing.GONE
        subscription.page = []
        self.subscriptions.discard(subscription)
        self._ahead.pop(subscription, None)

    def close(self) -> None:
        """Nobody follows it any more: give back what the ring holds, and take no more."""
        self._closed = True
        self._lanes = {}  # they know it: apart, both are gone without the cyclic collector
        self.tail.ring.clear()
        self.flushed = self.tail.ring.end

    def catch_up(self, subscription: Subscription, now_ms: int) -> Next:
        """Send the subscription its next stretch."""
        sink = subscription.sink
        if subscription.standing is not Standing.BEHIND or sink.blocked or sink.closed:
            return Next.NOTHING
        if subscription.page:
            return self._catch_up_from_page(subscription, now_ms)
        cursor = self._find(subscription)
        if cursor is None:
            if self.tail.is_behind(subscription.after):
                # History was quicker than the announcement: it is looked for again after a pass.
                self._ahead[subscription] = None
                return Next.NOTHING
            subscription.standing = Standing.LOADING
            return Next.HISTORY
        subscription.cursor = cursor
        if cursor > self.flushed:
            self._ahead[subscription] = None
            return Next.NOTHING
        if cursor == self.flushed:
            self.join(subscription)
            return Next.NOTHING
        stop = self.tail.ring.cut(cursor, self.flushed, STRETCH_BYTES)
        sent = _send(sink, self.tail.ring.slice(cursor, stop), now_ms)
        if subscription.standing is Standing.BEHIND:  # else a gap ended its connection
            subscription.cursor += sent
            subscription.after = self.tail.position_at(subscription.cursor)
        return _next(sink)

    def _find(self, subscription: Subscription) -> int | None:
        """Its cursor in the ring; ``None`` when it has none there."""
        cursor, ring = subscription.cursor, self.tail.ring
        if cursor is not None and cursor >= ring.base:
            return cursor
        if self.tail.head is None or subscription.after is None:
            return ring.base  # ephemeral: what is gone is not spoken of
        return self.tail.sequence_after(subscription.after)

    def _catch_up_from_page(self, subscription: Subscription, now_ms: int) -> Next:
        page, count, size = subscription.page, 0, 0
        while count < len(page) and (size < STRETCH_BYTES or not count):
            size += page[count].size
            count += 1
        sent = _send(subscription.sink, page[:count], now_ms)
        if sent and subscription.standing is Standing.BEHIND:
            subscription.after = page[sent - 1].item.position
            del page[:sent]
        return _next(subscription.sink)

    def turn_page(self, subscription: Subscription, history: History) -> None:
        """Here is the stretch of history it waited for; it wants a turn now."""
        if subscription.standing is not Standing.LOADING:
            return
        subscription.standing = Standing.BEHIND
        page = [Prepared(publication) for publication in history.publications]
        if history.gap is not None:
            page.insert(0, Prepared(history.gap))
        subscription.page = page
        subscription.cursor = None
        # An empty page says that nothing is left up to the head.
        subscription.after = history.start if page else history.head


def _next(sink: Sink) -> Next:
    return Next.NOTHING if sink.blocked or sink.closed else Next.TURN


def _send(sink: Sink, items: list[Prepared], now_ms: int) -> int:
    """Send what has not expired of the items; how many of them are dealt with."""
    numbers: list[int] = []
    wanted: list[Prepared] = []
    gap: Gap | None = None
    for number, prepared in enumerate(items, start=1):
        if isinstance(prepared.item, Gap):
            if not sink.format.tells_gaps:
                gap = prepared.item
                break
        elif prepared.item.expired(now_ms):
            continue
        numbers.append(number)
        wanted.append(prepared)
    taken = sink.push(wanted) if wanted else 0
    if taken < len(wanted):
        return numbers[taken - 1] if taken else 0
    if gap is not None:
        if sink.on_gap is not None:
            sink.traffic.told(gap)
            sink.on_gap(gap)
        return numbers[-1] if numbers else 0
    return len(items)


def _lane_key(sink: Sink) -> Format | None:
    return None if sink.tailor else sink.format
