"""What a node remembers of a channel's log, to see whether it was rolled back."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from notifier.brokers.redis.entry import decode
from notifier.brokers.redis.reading import Reading

# Publications of a channel that are remembered; 16 bytes each.
LENGTH = 256


class Memory:
    """The newest publications of one epoch: their offsets, and what tells their ids apart."""

    __slots__ = ("_ids", "_offsets")

    def __init__(self) -> None:
        self._offsets = array("q")
        # Hashes, which are this process's own: a name is all that is asked for.
        self._ids = array("q")

    def note(self, offset: int, id: str) -> None:
        """:param offset: above all that were noted before."""
        self._offsets.append(offset)
        self._ids.append(hash(id))
        if len(self._offsets) > LENGTH:
            del self._offsets[0], self._ids[0]

    def forget_after(self, offset: int) -> None:
        """The log is another one from there on."""
        kept = bisect_right(self._offsets, offset)
        del self._offsets[kept:], self._ids[kept:]

    def begins(self, otherwise: int) -> int:
        """The offset before the first that is remembered."""
        return self._offsets[0] - 1 if self._offsets else otherwise

    def contradicts(self, reading: Reading) -> bool:
        """Whether the log has the epoch, but is not the one that is remembered."""
        asked = reading.asked
        if asked is None or asked.epoch != reading.epoch:
            return False
        if reading.head < asked.offset:
            return True
        if not reading.same_id or asked.offset not in self._offsets:
            return False
        return self._ids[self._offsets.index(asked.offset)] != hash(reading.same_id)

    def common(self, reading: Reading, otherwise: int) -> int:
        """Up to which offset it is the same log, for all that is remembered.

        :param reading: from before the first that is remembered on.
        """
        there = {offset: hash(decode("", None, entry).id) for offset, entry in reading.entries}
        common = min(self.begins(otherwise), reading.head)
        for offset, id in zip(self._offsets, self._ids, strict=True):
            if offset > reading.head or there.get(offset, id) != id:
                # What came after it is another too, though it may have its number.
                break
            common = offset
        return common
