"""One channel: its counter, and as much of its history as is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from notifier.notification import Publication


class Log:
    """Without publications at first.

    :ivar head: offset of the newest publication; 0: there never was one.
    :ivar floor: of the newest that was trimmed or cleared, published at ``floor_time_ms``; 0: none.
    :ivar next_expiry_ms: none of them expires by its own ``expires`` before that.
    """

    __slots__ = ("epoch", "floor", "floor_time_ms", "head", "next_expiry_ms", "publications",
                 "size", "used_ms")  # fmt: skip

    def __init__(self, epoch: str, now_ms: int) -> None:
        self.epoch = epoch
        self.head = 0
        self.floor = 0
        self.floor_time_ms = 0
        self.publications: deque[Publication] = deque()
        self.size = 0
        self.next_expiry_ms: int | None = None
        self.used_ms = now_ms

    def append(self, publication: Publication) -> None:
        self.publications.append(publication)
        self.size += publication.size
        expiry = publication.expires_ms
        if expiry is not None and (self.next_expiry_ms is None or expiry < self.next_expiry_ms):
            self.next_expiry_ms = expiry

    def drop_oldest(self) -> int:
        """Trim one; the bytes that freed."""
        publication = self.publications.popleft()
        assert publication.position is not None
        self.floor = publication.position.offset
        self.floor_time_ms = publication.time_ms
        freed = publication.size
        self.size -= freed
        return freed

    def clear(self) -> int:
        """Trim all; the bytes that freed."""
        freed = self.size
        while self.publications:
            self.drop_oldest()
        return freed

    def drop_expired(self, now_ms: int) -> int:
        """Remove what expired by its own ``expires``: a hole, not a loss. The bytes freed."""
        if self.next_expiry_ms is None or self.next_expiry_ms > now_ms:
            return 0
        kept = [p for p in self.publications if not p.expired(now_ms)]
        before, self.size = self.size, sum(p.size for p in kept)
        self.publications = deque(kept)
        self.next_expiry_ms = min((p.expires_ms for p in kept if p.expires_ms), default=None)
        return before - self.size

    def between(
        self, after: int, before: int | None, *, newest_first: bool
    ) -> Iterable[Publication]:
        """Those with an offset above ``after`` and below ``before``."""
        if newest_first:
            newest = takewhile(lambda p: _offset(p) > after, reversed(self.publications))
            return (p for p in newest if before is None or _offset(p) < before)
        oldest = (p for p in self.publications if _offset(p) > after)
        return takewhile(lambda p: before is None or _offset(p) < before, oldest)


def _offset(publication: Publication) -> int:
    assert publication.position is not None
    return publication.position.offset
