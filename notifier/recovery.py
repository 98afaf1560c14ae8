"""Where a subscriber goes on in a channel's log, and what it must be told is missing.

The same rules serve a broker's history and a node's ring: both show what they have as an
:class:`Extent`.
"""

from __future__ import annotations

from collections.abc import Reversible
from dataclasses import dataclass

from notifier.errors import BadParameter
from notifier.notification import Gap, Position, Publication
from notifier.wire.resume import After, All, Last, Latest, Since, Time


@dataclass(frozen=True, slots=True)
class Extent:
    """The stretch of a log that is at hand.

    :param floor: offset of the newest publication that is *not* at hand any more; all after it
        are, but for those that expired by their own ``expires``.
    :param floor_time_ms: when that one was published; 0 where nothing was ever lost.
    :param head: offset of the newest publication of all; 0 before the first.
    :param publications: in order, each with a position in this epoch.
    """

    channel: str
    epoch: str
    floor: int
    floor_time_ms: int
    head: int
    publications: Reversible[Publication]

    def at(self, offset: int) -> Position:
        return Position(self.epoch, offset)

    def offset_before(self, before: Position | None) -> int | None:
        """The offset to stop short of.

        :raises BadParameter: it is not one of this epoch.
        """
        if before is None:
            return None
        if before.epoch != self.epoch:
            raise BadParameter(
                f"before={before} is a position of a log that was lost.", field="before"
            )
        return before.offset


@dataclass(frozen=True, slots=True)
class Recovery:
    """The answer to a ``since``: deliver what is ``after``, and tell of the gap.

    ``gap`` is ``None`` exactly when all of (since, head] is at hand.
    """

    after: Position
    gap: Gap | None = None


def recover(since: Since, extent: Extent, *, now_ms: int) -> Recovery:
    """Where ``since`` lands in what is at hand."""
    match since:
        case Latest():
            return Recovery(extent.at(extent.head))
        case All():
            return Recovery(extent.at(extent.floor))
        case After(position):
            return _after(position, extent, now_ms)
        case Time(time_ms):
            return _from_time(time_ms, extent, now_ms)
        case Last(count):
            return _last(count, extent, now_ms)


def _after(position: Position, extent: Extent, now_ms: int) -> Recovery:
    if position.epoch != extent.epoch or position.offset < extent.floor:
        return _with_gap(extent.floor, extent, now_ms, lost_after=position)
    if position.offset > extent.head:
        # Nobody was given this position by this log. Replaying what came before it would
        # deliver twice; what comes next is the head's successor.
        return _with_gap(extent.head, extent, now_ms, lost_after=position)
    return Recovery(position)


def _from_time(time_ms: int, extent: Extent, now_ms: int) -> Recovery:
    if extent.floor and extent.floor_time_ms >= time_ms:
        return _with_gap(extent.floor, extent, now_ms)
    before = extent.floor
    for publication in extent.publications:
        if publication.time_ms >= time_ms:
            break
        before = _offset(publication)
    else:
        before = extent.head
    return Recovery(extent.at(before))


def _last(count: int, extent: Extent, now_ms: int) -> Recovery:
    start = extent.head
    for publication in reversed(extent.publications):
        if publication.expired(now_ms):
            continue
        start = _offset(publication) - 1
        count -= 1
        if count == 0:
            return Recovery(extent.at(start))
    if extent.floor:
        return _with_gap(extent.floor, extent, now_ms)
    return Recovery(extent.at(0))


def _with_gap(
    start: int, extent: Extent, now_ms: int, *, lost_after: Position | None = None
) -> Recovery:
    """Deliver what is after ``start``; the gap ends at the first of that."""
    before = extent.head + 1
    if start < extent.head:  # else there is none, and no need to read them all
        for publication in extent.publications:
            if _offset(publication) > start and not publication.expired(now_ms):
                before = _offset(publication)
                break
    gap = Gap(extent.channel, after=lost_after, before=extent.at(before))
    return Recovery(extent.at(start), gap)


def _offset(publication: Publication) -> int:
    assert publication.position is not None, "ephemeral channels have no extent"
    return publication.position.offset
