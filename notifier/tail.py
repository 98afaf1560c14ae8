"""The recent end of one channel's log, as this node has it.

The ring, and what its items mean in the log: at which position it begins, since where it has no
break, and whether history has anything older. From these it answers where a ``since`` lands, for
everybody who comes back, without asking the broker for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from notifier.channels import Namespace
from notifier.history import History
from notifier.notification import Gap, Position, Publication
from notifier.recovery import Extent, recover
from notifier.ring import Budget, Ring
from notifier.wire.prepared import Prepared
from notifier.wire.resume import After, Latest, Since


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


class Tail:
    """A ring of a channel's latest items, placed in the channel's log.

    :ivar head: the newest position heard of; ``None`` when the channel is ephemeral.
    """

    def __init__(
        self,
        channel: str,
        namespace: Namespace,
        *,
        max_items: int,
        max_bytes: int,
        budget: Budget,
    ) -> None:
        self.ring = Ring(max_items=max_items, max_bytes=max_bytes, budget=budget)
        self.head: Position | None = None
        self._channel = channel
        self._namespace = namespace
        self._max_items = max_items
        # Position just before the ring's first item, and when the item before that was published.
        self._floor: Position | None = None
        self._floor_time_ms = 0
        # The ring holds one epoch's log without a break from here on.
        self._unbroken = 0
        self._trimmed = False
        # History holds nothing of it from before the ring.
        self._reaches_floor = False

    @property
    def depth(self) -> int:
        """Publications of history that it is worth putting before the ring."""
        return min(self._namespace.history_size, self._max_items)

    # --- growing and shrinking ---

    def begin(self, head: Position | None) -> None:
        """What is added comes after ``head``."""
        self.head = self._floor = head
        self._reaches_floor = head is None or head.offset == 0

    def add(self, publication: Publication) -> bool:
        """Append the publication; False when it was heard before."""
        place = publication.position
        if place is not None and self.head is not None:
            if place.epoch != self.head.epoch:
                self.add_gap(Gap(self._channel, after=self.head, before=place))
            elif place.offset <= self.head.offset:
                return False
        self.head = place
        self.ring.append(Prepared(publication))
        return True

    def add_gap(self, gap: Gap) -> None:
        """Append the gap: everyone is told of it, at its place in the order."""
        self.ring.append(Prepared(gap))
        self.head = gap.position
        self._unbroken = self.ring.end
        # What history has of it is asked for when somebody wants it.
        self._reaches_floor = False

    def trim(self, keep_from: int) -> None:
        """Drop what is over the ring's bounds, nothing from ``keep_from`` on."""
        self._dropped(self.ring.trim(keep_from))

    def clear(self, keep_from: int) -> None:
        """History was deleted: drop what was sent already, that is all before ``keep_from``."""
        self._dropped(self.ring.trim(keep_from, everything=True))
        # Nothing that was read before is to be put before the ring, though it may hold nothing.
        self._trimmed = True
        self._reaches_floor = False

    def _dropped(self, dropped: Prepared | None) -> None:
        if dropped is None:
            return
        self._trimmed = True
        self._floor = dropped.item.position
        if isinstance(dropped.item, Publication):
            self._floor_time_ms = dropped.item.time_ms
        self._reaches_floor = False

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
            or self._trimmed  # who is behind still has the numbers of what was dropped
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
        if start.offset <= floor.offset:
            self._floor_time_ms = history.floor_time_ms
        self._reaches_floor = history.complete

    # --- finding a place ---

    def locate(self, since: Since, now_ms: int) -> Start | None:
        """Where ``since`` lands in the ring; ``None`` when only history can tell."""
        if self.head is None:
            return Start(None, cursor=self.ring.end)
        if isinstance(since, Latest):
            return Start(self.head, cursor=self.ring.end)
        if isinstance(since, After):
            cursor = self.sequence_after(since.position)
            if cursor is not None:
                return Start(since.position, cursor=cursor)
            if self._is_news(since.position):
                return None
        extent = self._extent(now_ms)
        if extent is None:
            return None
        recovery = recover(since, extent, now_ms=now_ms)
        cursor = self.sequence_after(recovery.after)
        return None if cursor is None else Start(recovery.after, recovery.gap, cursor)

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
        oldest_ms = now_ms - round(self._namespace.history_ttl * 1000)
        # Expired ones don't count: history has let go of them, and so may reach further back.
        keep, room = len(publications), self._namespace.history_size
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
            self._channel,
            floor.epoch,
            floor.offset,
            floor_time_ms,
            self.head.offset,
            publications[keep:],
        )

    def sequence_after(self, position: Position) -> int | None:
        """The cursor that comes after a position; ``None`` when the ring does not reach it."""
        start = max(self._unbroken, self.ring.base)
        floor = self.position_at(start)
        if floor is None or self.head is None or position.epoch != self.head.epoch:
            return None
        if not floor.offset <= position.offset <= self.head.offset:
            return None
        return self.ring.after(position.offset, start)

    def _is_news(self, position: Position) -> bool:
        """Whether another node may know it, though this one has not heard of it (yet)."""
        assert self.head is not None
        return position.epoch != self.head.epoch or position.offset > self.head.offset

    def is_behind(self, position: Position | None) -> bool:
        """Whether the position is one of this log that has not been heard of here yet."""
        head = self.head
        return (
            head is not None
            and position is not None
            and position.epoch == head.epoch
            and position.offset > head.offset
        )

    def position_at(self, cursor: int) -> Position | None:
        """The position of the item before the cursor, which must not be below the ring."""
        assert cursor >= self.ring.base
        return self._floor if cursor == self.ring.base else self.ring[cursor - 1].item.position
