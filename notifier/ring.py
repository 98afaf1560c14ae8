"""The recent items of one channel, in order, each under a sequence number of this node.

Sequence numbers are local and without holes, so that a range of them is a slice: offsets would
not do, for they have holes, begin anew with an epoch, and ephemeral channels have none.
"""

from __future__ import annotations

from bisect import bisect_right

from notifier.notification import Publication
from notifier.wire.prepared import Prepared

_GAP_BYTES = 200  # what a gap is reckoned at


def _size(prepared: Prepared) -> int:
    return prepared.item.size if isinstance(prepared.item, Publication) else _GAP_BYTES


def _offset(prepared: Prepared) -> int:
    position = prepared.item.position
    assert position is not None, "ephemeral channels have no offsets"
    return position.offset


class Ring:
    """Items ``base`` ≤ sequence < ``end``; the oldest are trimmed over ``max_items`` or bytes."""

    __slots__ = ("_items", "_max_bytes", "_max_items", "base", "size")

    def __init__(self, *, max_items: int, max_bytes: int) -> None:
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

    def __getitem__(self, sequence: int) -> Prepared:
        assert sequence >= self.base
        return self._items[sequence - self.base]

    def slice(self, start: int, stop: int) -> list[Prepared]:
        assert start >= self.base
        return self._items[start - self.base : stop - self.base]

    def append(self, prepared: Prepared) -> None:
        self._items.append(prepared)
        self.size += _size(prepared)

    def prepend(self, older: list[Prepared]) -> None:
        """Put history before what is here; ``base`` moves down."""
        self._items[:0] = older
        self.base -= len(older)
        self.size += sum(map(_size, older))

    def cut(self, start: int, stop: int, max_bytes: int) -> int:
        """The furthest end ≤ ``stop`` of a stretch of about ``max_bytes``; one item at least."""
        size = 0
        for sequence in range(start, stop):
            size += _size(self[sequence])
            if size > max_bytes:
                return max(sequence, start + 1)
        return stop

    def after(self, offset: int, start: int) -> int:
        """The sequence that follows an offset, from ``start`` on; offsets must rise there."""
        return self.base + bisect_right(self._items, offset, lo=start - self.base, key=_offset)

    def trim(self, keep_from: int) -> Prepared | None:
        """Drop the oldest that are over the bounds, none from ``keep_from`` on.

        :returns: the newest item dropped.
        """
        drop, most = 0, min(keep_from, self.end) - self.base
        while drop < most and (
            len(self._items) - drop > self._max_items or self.size > self._max_bytes
        ):
            self.size -= _size(self._items[drop])
            drop += 1
        if not drop:
            return None
        last = self._items[drop - 1]
        del self._items[:drop]
        self.base += drop
        return last
