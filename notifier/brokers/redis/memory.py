"""What a node remembers of a channel's log, to see whether it was rolled back."""

from __future__ import annotations

from collections import deque

from notifier.brokers.redis.entry import decode
from notifier.brokers.redis.reading import Reading

# Publications of a channel whose ids are remembered.
LENGTH = 100


class Memory:
    """The ids of the newest publications of one epoch, by offset."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: deque[tuple[int, str]] = deque(maxlen=LENGTH)

    def note(self, offset: int, id: str) -> None:
        self._ids.append((offset, id))

    def clear(self) -> None:
        self._ids.clear()

    def begins(self, otherwise: int) -> int:
        """The offset before the first that is remembered."""
        return min(offset for offset, _ in self._ids) - 1 if self._ids else otherwise

    def contradicts(self, reading: Reading) -> bool:
        """Whether the log has the epoch, but is not the one that is remembered."""
        asked = reading.asked
        if asked is None or asked.epoch != reading.epoch:
            return False
        mine = next((id for offset, id in reversed(self._ids) if offset == asked.offset), "")
        return reading.head < asked.offset or "" != mine != reading.same_id != ""

    def common(self, reading: Reading, otherwise: int) -> int:
        """Up to which offset it is the same log.

        :param reading: from before the first that is remembered on.
        """
        ids = {offset: decode("", None, entry).id for offset, entry in reading.entries}
        mine = sorted(self._ids)
        same = [o for o, id in mine if o <= reading.head and ids.get(o, id) == id]
        other = [o for o, id in mine if o > reading.head or ids.get(o, id) != id]
        # What came after the first that is another is another too, though it has its number.
        first = min(other, default=reading.head + 1)
        return max(
            (offset for offset in same if offset < first),
            default=min(self.begins(otherwise), reading.head),
        )
