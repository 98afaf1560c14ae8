"""The recent items of one channel, in order, each under a sequence number of this node.

Sequence numbers are local and without holes, so that a range of them is a slice: offsets would
not do, for they have holes, begin anew with an epoch, and ephemeral channels have none.
"""

from __future__ import annotations

from bisect import bisect_right

from notifier.wire.prepared import Prepared


def _offset(prepared: Prepared) -> int:
    position = prepared.item.position
    assert position is not None, "ephemeral channels have no offsets"
    return position.offset


class Budget:
    """Bytes all rings of a node may hold together, and do."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Ring:
    """Items ``base`` ≤ sequence < ``end``; the oldest are trimmed over ``max_items`` or bytes.

    While the node's budget is overdrawn, a ring that grows keeps nothing it need not.
    """

    __slots__ = ("_budget", "_items", "_max_bytes", "_max_items", "base", "size")

    def __init__(self, *, max_items: int, max_bytes: int, budget: Budget) -> None:
        self._budget = budget
        self.base = 0
        self.size = 0
        self._items: list[Prepared] = []
        self._max_items = max_items
        self._max_bytes = max_bytes

    @property
    def end(self) -> int:
        return self.base + len(self._items)

    @property
    def overfull(self) -> bool:
        return self.size > self._max_bytes

    def crowded(self, start: int, more: int) -> bool:
        """Whether what is from ``start`` on fills half of it, or leaves no room for ``more`` bytes;
        reckoned by the average item."""
        count = self.end - start
        if not count:
            return False
        size = count * self.size / len(self._items)
        return 2 * size > self._max_bytes or size + more > self._max_bytes

    def __getitem__(self, sequence: int) -> Prepared:
        assert sequence >= self.base
        return self._items[sequence - self.base]

    def slice(self, start: int, stop: int) -> list[Prepared]:
        assert start >= self.base
        return self._items[start - self.base : stop - self.base]

    def append(self, prepared: Prepared) -> None:
        self._items.append(prepared)
        self._grow(prepared.size)

    def prepend(self, older: list[Prepared]) -> None:
        """Put history before what is here; ``base`` moves down."""
        self._items[:0] = older
        self.base -= len(older)
        self._grow(sum(prepared.size for prepared in older))

    def cut(self, start: int, stop: int, max_bytes: int) -> int:
        """The furthest end ≤ ``stop`` of a stretch of about ``max_bytes``; one item at least."""
        size = 0
        for sequence in range(start, stop):
            size += self[sequence].size
            if size > max_bytes:
                return max(sequence, start + 1)
        return stop

    def after(self, offset: int, start: int) -> int:
        """The sequence that follows an offset, from ``start`` on; offsets must rise there."""
        return self.base + bisect_right(self._items, offset, lo=start - self.base, key=_offset)

    def trim(self, keep_from: int, *, everything: bool = False) -> Prepared | None:
        """Drop the oldest that are over the bounds, none from ``keep_from`` on.

        :param everything: drop all of them, bounds or not.
        :returns: the newest item dropped.
        """
        drop, most = 0, min(keep_from, self.end) - self.base
        while drop < most and (
            everything
            or len(self._items) - drop > self._max_items
            or self.size > self._max_bytes
            or self._budget.used > self._budget.limit
        ):
            self._grow(-self._items[drop].size)
            drop += 1
        if not drop:
            return None
        last = self._items[drop - 1]
        del self._items[:drop]
        self.base += drop
        return last

    def clear(self) -> None:
        """Let go of everything."""
        self._grow(-self.size)
        self.base = self.end
        self._items.clear()

    def _grow(self, size: int) -> None:
        self.size += size
        self._budget.used += size
