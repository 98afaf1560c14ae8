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
from notifier.history import History
from notifier.lane import Lane
from notifier.notification import Gap, Position, Publication
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Tail
from notifier.wire.prepared import Format, Prepared

# What one pass, or one stretch of catching up, sends a socket at most. Larger ones overflow
# socket buffers of clients that would have kept up.
STRETCH_BYTES = 65536


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
        on_dirty: Callable[[Feed], None],
        on_behind: Callable[[Subscription], None],
    ) -> None:
        self.channel = channel
        self.tail = Tail(channel, namespace, max_items=feed_size, max_bytes=feed_bytes)
        # Passes have been begun for everything before this.
        self.flushed = 0
        # In the hub's queue of dirty feeds.
        self.marked = False
        self.subscriptions: set[Subscription] = set()
        self._lanes: dict[Format, Lane] = {}
        self._on_dirty = on_dirty
        self._on_behind = on_behind
        self._pass: Pass | None = None
        # Whose cursor the passes have yet to reach (a dict for its order).
        self._ahead: dict[Subscription, None] = {}

    # --- what the broker tells (brokers.base.Receiver) ---

    def begin(self, head: Position | None) -> None:
        self.tail.begin(head)

    def publication(self, publication: Publication) -> None:
        if self.tail.add(publication):
            self._grown()

    def gap(self, gap: Gap) -> None:
        self.tail.add_gap(gap)
        self._grown()

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
            if not lane.walk(deadline, clock, self._cut, self._broken):
                return False
        self._pass = None
        self.tail.trim(keep_from=self.flushed)
        for subscription in [s for s in self._ahead if s.cursor <= self.flushed]:
            del self._ahead[subscription]
            self._on_behind(subscription)
        return True

    def _begin_pass(self) -> None:
        start = self.flushed
        stop = self.tail.ring.cut(start, self.tail.ring.end, STRETCH_BYTES)
        items = self.tail.ring.slice(start, stop)
        self._pass = Pass(start, self.tail.position_at(start), items)
        self.flushed = stop
        for lane in self._lanes.values():
            if lane.count:
                lane.begin([item.encoded(lane.format) for item in items])

    def _cut(self, subscription: Subscription, frames: list[bytes], sent: int) -> None:
        """The kernel did not take all of the pass."""
        assert self._pass is not None
        self._leave(subscription)
        taken = subscription.sink.spill(frames, sent)
        subscription.cursor = self._pass.start + taken
        subscription.after = self._pass.items[taken - 1].item.position
        if not subscription.sink.blocked:
            # The rest went when it was handed over: the kernel had made room in between.
            self._on_behind(subscription)

    def _broken(self, subscription: Subscription) -> None:
        self._leave(subscription)
        subscription.sink.abort()

    # --- cursors ---

    def join(self, subscription: Subscription) -> None:
        """Live: from now on it has no cursor, it is where the feed is."""
        assert subscription.cursor == self.flushed
        subscription.standing = Standing.LIVE
        format = subscription.sink.format
        if format not in self._lanes:
            self._lanes[format] = Lane(format)
        self._lanes[format].join(subscription)

    def fall_behind(self, subscription: Subscription) -> None:
        """Leave live, and remember where that was."""
        if subscription.standing is not Standing.LIVE:
            return
        unserved = self._leave(subscription)
        if unserved:
            assert self._pass is not None
            subscription.cursor, subscription.after = self._pass.start, self._pass.position
        else:
            subscription.cursor = self.flushed
            subscription.after = self.tail.position_at(self.flushed)

    def _leave(self, subscription: Subscription) -> bool:
        subscription.standing = Standing.BEHIND
        return self._lanes[subscription.sink.format].leave(subscription)

    def leave(self, subscription: Subscription) -> None:
        """Gone for good."""
        if subscription.standing is Standing.LIVE:
            self._leave(subscription)
        subscription.standing = Standing.GONE
        subscription.page = []
        self.subscriptions.discard(subscription)
        self._ahead.pop(subscription, None)

    def catch_up(self, subscription: Subscription, now_ms: int) -> Next:
        """Send the subscription its next stretch."""
        sink = subscription.sink
        if subscription.standing is not Standing.BEHIND or sink.blocked or sink.closed:
            return Next.NOTHING
        if subscription.page:
            return self._catch_up_from_page(subscription)
        if subscription.cursor < self.tail.ring.base:
            if self.tail.head is not None:
                subscription.standing = Standing.LOADING
                return Next.HISTORY
            subscription.cursor = self.tail.ring.base  # ephemeral: what is gone is not spoken of
        if subscription.cursor > self.flushed:
            self._ahead[subscription] = None
            return Next.NOTHING
        if subscription.cursor == self.flushed:
            self.join(subscription)
            return Next.NOTHING
        start = subscription.cursor
        stop = self.tail.ring.cut(start, self.flushed, STRETCH_BYTES)
        sequences, frames = [], []
        for sequence, prepared in enumerate(self.tail.ring.slice(start, stop), start):
            if not _expired(prepared, now_ms):
                sequences.append(sequence)
                frames.append(prepared.encoded(sink.format))
        taken = sink.push(frames) if frames else 0
        if taken == len(frames):
            subscription.cursor = stop
        elif taken:
            subscription.cursor = sequences[taken - 1] + 1
        subscription.after = self.tail.position_at(subscription.cursor)
        return _next(sink)

    def _catch_up_from_page(self, subscription: Subscription) -> Next:
        sink, size = subscription.sink, 0
        frames: list[bytes] = []
        for prepared in subscription.page:
            frame = prepared.encoded(sink.format)
            if frames and size + len(frame) > STRETCH_BYTES:
                break
            frames.append(frame)
            size += len(frame)
        taken = sink.push(frames)
        if taken:
            subscription.after = subscription.page[taken - 1].item.position
            del subscription.page[:taken]
        if not subscription.page:
            self._return_to_ring(subscription)
        return _next(sink)

    def turn_page(self, subscription: Subscription, history: History) -> None:
        """Here is the stretch of history it waited for; it wants a turn now."""
        if subscription.standing is not Standing.LOADING:
            return
        subscription.standing = Standing.BEHIND
        page = [Prepared(publication) for publication in history.publications]
        if history.gap is not None:
            page.insert(0, Prepared(history.gap))
        subscription.page = page
        if history.start is not None:
            subscription.after = history.start
        if not page:
            self._return_to_ring(subscription)

    def _return_to_ring(self, subscription: Subscription) -> None:
        """Find the sequence of ``after``; below the ring's base when history must go on."""
        after = subscription.after
        if after is None or self.tail.head is None:
            subscription.cursor = max(self.tail.ring.base, subscription.cursor)
            return
        cursor = self.tail.sequence_after(after)
        subscription.cursor = self.tail.ring.base - 1 if cursor is None else cursor


def _next(sink: Sink) -> Next:
    return Next.NOTHING if sink.blocked or sink.closed else Next.TURN


def _expired(prepared: Prepared, now_ms: int) -> bool:
    return isinstance(prepared.item, Publication) and prepared.item.expired(now_ms)
