"""One channel on this node: its ring, and the cursors on it.

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
from notifier.recovery import Extent, recover
from notifier.ring import Ring
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.wire.prepared import Format, Prepared
from notifier.wire.resume import After, Latest, Since

# What one pass, or one stretch of catching up, sends a socket at most. Larger ones overflow
# socket buffers of clients that would have kept up.
STRETCH_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscription begins.

    :param position: what it is told; everything after it follows. ``None``: ephemeral.
    :param cursor: sequence in the ring; ``None`` when it begins in ``page``.
    :param page: a stretch of history that comes before the ring.
    """

    position: Position | None
    gap: Gap | None = None
    cursor: int | None = None
    page: History | None = None


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
    """The recent items of one channel and everyone who follows it here.

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
        self.namespace = namespace
        self.ring = Ring(max_items=feed_size, max_bytes=feed_bytes)
        # Passes have been begun for everything before this.
        self.flushed = 0
        # In the hub's queue of dirty feeds.
        self.marked = False
        self.head: Position | None = None
        self.subscriptions: set[Subscription] = set()
        self._lanes: dict[Format, Lane] = {}
        self._on_dirty = on_dirty
        self._on_behind = on_behind
        self._pass: Pass | None = None
        # Whose cursor the passes have yet to reach (a dict for its order).
        self._ahead: dict[Subscription, None] = {}
        # Position just before the ring's first item.
        self._floor: Position | None = None
        self._floor_time_ms = 0
        # The ring holds one epoch's log without a break from here on.
        self._unbroken = 0
        # History holds nothing of it from before the ring.
        self._reaches_floor = False

    # --- what the broker tells (brokers.base.Receiver) ---

    def begin(self, head: Position | None) -> None:
        self.head = self._floor = head
        self._reaches_floor = head is None or head.offset == 0

    def publication(self, publication: Publication) -> None:
        place = publication.position
        if place is not None and self.head is not None:
            if place.epoch != self.head.epoch:
                self.gap(Gap(self.channel, after=self.head, before=place))
            elif place.offset <= self.head.offset:
                return  # heard before
        self.head = place
        self._append(Prepared(publication))

    def gap(self, gap: Gap) -> None:
        self._append(Prepared(gap))
        self.head = Position(gap.before.epoch, gap.before.offset - 1)
        self._unbroken = self.ring.end
        # What history has of it is asked for when somebody wants it.
        self._reaches_floor = False

    def _append(self, prepared: Prepared) -> None:
        self.ring.append(prepared)
        self._trim(keep_from=self.flushed)
        if self.ring.overfull and self.ring.end - self.flushed > 1:
            self._strand()
        self._on_dirty(self)

    def _trim(self, keep_from: int) -> None:
        dropped = self.ring.trim(keep_from)
        if dropped is None:
            return
        self._floor = dropped.item.position
        if isinstance(dropped.item, Publication):
            self._floor_time_ms = dropped.item.time_ms
        self._reaches_floor = False

    def _strand(self) -> None:
        """More is unsent than the ring may hold: everyone live falls behind it, none loses."""
        for lane in self._lanes.values():
            for subscription in lane.members():
                self.fall_behind(subscription)
                self._on_behind(subscription)
        self._trim(keep_from=self.ring.end - 1)
        self.flushed = max(self.flushed, self.ring.base)

    # --- passes ---

    @property
    def dirty(self) -> bool:
        """Whether there is something that no pass has been completed for."""
        return self._pass is not None or self.flushed < self.ring.end

    def run(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Go on with the pass, or begin one; True when it is complete."""
        if self._pass is None:
            self._begin_pass()
        for lane in self._lanes.values():
            if not lane.walk(deadline, clock, self._cut, self._broken):
                return False
        self._pass = None
        self._trim(keep_from=self.flushed)
        for subscription in [s for s in self._ahead if s.cursor <= self.flushed]:
            del self._ahead[subscription]
            self._on_behind(subscription)
        return True

    def _begin_pass(self) -> None:
        start = self.flushed
        stop = self.ring.cut(start, self.ring.end, STRETCH_BYTES)
        items = self.ring.slice(start, stop)
        self._pass = Pass(start, self.position_at(start), items)
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
            subscription.after = self.position_at(self.flushed)

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
        if subscription.cursor < self.ring.base:
            if self.head is not None:
                subscription.standing = Standing.LOADING
                return Next.HISTORY
            subscription.cursor = self.ring.base  # ephemeral: what is gone is not spoken of
        if subscription.cursor > self.flushed:
            self._ahead[subscription] = None
            return Next.NOTHING
        if subscription.cursor == self.flushed:
            self.join(subscription)
            return Next.NOTHING
        start = subscription.cursor
        stop = self.ring.cut(start, self.flushed, STRETCH_BYTES)
        sequences, frames = [], []
        for sequence, prepared in enumerate(self.ring.slice(start, stop), start):
            if not _expired(prepared, now_ms):
                sequences.append(sequence)
                frames.append(prepared.encoded(sink.format))
        taken = sink.push(frames) if frames else 0
        if taken == len(frames):
            subscription.cursor = stop
        elif taken:
            subscription.cursor = sequences[taken - 1] + 1
        subscription.after = self.position_at(subscription.cursor)
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
        if after is None or self.head is None:
            subscription.cursor = max(self.ring.base, subscription.cursor)
            return
        cursor = self._sequence_after(after)
        subscription.cursor = self.ring.base - 1 if cursor is None else cursor

    # --- where a subscription begins ---

    def locate(self, since: Since, now_ms: int) -> Start | None:
        """Where ``since`` lands in the ring; ``None`` when only history can tell."""
        if self.head is None:
            return Start(None, cursor=self.ring.end)
        if isinstance(since, Latest):
            return Start(self.head, cursor=self.ring.end)
        if isinstance(since, After):
            cursor = self._sequence_after(since.position)
            if cursor is not None:
                return Start(since.position, cursor=cursor)
        extent = self._extent(now_ms)
        if extent is None:
            return None
        recovery = recover(since, extent, now_ms=now_ms)
        cursor = self._sequence_after(recovery.after)
        return None if cursor is None else Start(recovery.after, recovery.gap, cursor)

    def warm(self, history: History) -> None:
        """Put history before the ring, so that everyone who comes back is served from it."""
        floor, start = self._floor, history.start
        if (
            floor is None
            or start is None
            or history.head is None
            or start.epoch != floor.epoch
            or self._unbroken > self.ring.base
            or history.head.offset < floor.offset  # read before what the ring has dropped since
        ):
            return
        if start.offset < floor.offset:
            self.ring.prepend(
                [
                    Prepared(publication)
                    for publication in history.publications
                    if publication.position and publication.position.offset <= floor.offset
                ]
            )
            self._unbroken = self.ring.base
            self._floor = start
            self._floor_time_ms = history.floor_time_ms
        self._reaches_floor = history.complete
        self._trim(keep_from=self.flushed)

    def _extent(self, now_ms: int) -> Extent | None:
        """The ring as history would show it; ``None`` when it holds less than history does."""
        start = max(self._unbroken, self.ring.base)
        publications = [
            prepared.item
            for prepared in self.ring.slice(start, self.ring.end)
            if isinstance(prepared.item, Publication)
        ]
        floor, floor_time_ms = self._floor, self._floor_time_ms
        if self._unbroken > self.ring.base:
            floor = self.ring[self._unbroken - 1].item.position
            floor_time_ms = now_ms
        oldest_ms = now_ms - round(self.namespace.history_ttl * 1000)
        # Expired ones don't count: history has let go of them, and so may reach further back.
        keep, room = len(publications), self.namespace.history_size
        while keep and room:
            keep -= 1
            room -= not publications[keep].expired(now_ms)
        while keep < len(publications) and publications[keep].time_ms <= oldest_ms:
            keep += 1
        if keep == 0 and not self._reaches_floor:
            return None
        if keep:
            floor = publications[keep - 1].position
            floor_time_ms = publications[keep - 1].time_ms
        assert floor is not None and self.head is not None
        return Extent(
            self.channel,
            floor.epoch,
            floor.offset,
            floor_time_ms,
            self.head.offset,
            publications[keep:],
        )

    def _sequence_after(self, position: Position) -> int | None:
        """The cursor that comes after a position; ``None`` when the ring does not reach it."""
        start = max(self._unbroken, self.ring.base)
        floor = self.position_at(start)
        if floor is None or self.head is None or position.epoch != self.head.epoch:
            return None
        if not floor.offset <= position.offset <= self.head.offset:
            return None
        return self.ring.after(position.offset, start)

    def position_at(self, cursor: int) -> Position | None:
        """The position of the item before the cursor, which must not be below the ring."""
        assert cursor >= self.ring.base
        return self._floor if cursor == self.ring.base else self.ring[cursor - 1].item.position


def _next(sink: Sink) -> Next:
    return Next.NOTHING if sink.blocked or sink.closed else Next.TURN


def _expired(prepared: Prepared, now_ms: int) -> bool:
    return isinstance(prepared.item, Publication) and prepared.item.expired(now_ms)
