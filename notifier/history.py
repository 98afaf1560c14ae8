"""A channel's log, as it is read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.errors import BadParameter
from notifier.notification import Gap, Position, Publication

# Publications, or channels, on one page.
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class History:
    """A stretch of a channel's log, the oldest first unless the newest were asked for first.

    :param start: the stretch begins after this.
    :param head: the newest position of the channel; ``None`` when it is ephemeral.
    :param gap: what ``since`` asked for and is not there any more.
    :param floor_time_ms: when the newest lost publication was published; 0 if none was lost.
    :param complete: nothing older than the stretch is left.
    :param more: the limit cut it: there are more that were asked for, beyond the last of these.
    """

    channel: str
    start: Position | None
    head: Position | None
    publications: Sequence[Publication]
    gap: Gap | None = None
    floor_time_ms: int = 0
    complete: bool = True
    more: bool = False

    @property
    def end(self) -> Position:
        """Where a reader is who has read it, the oldest first; not of an ephemeral channel."""
        assert self.start is not None and self.head is not None, "an ephemeral channel"
        if not self.more:
            return self.head
        return self.publications[-1].position or self.start


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel that has been published to.

    :param publications: how many history holds.
    :param size: bytes they are reckoned at.
    :param time_ms: when the newest of them was published; ``None`` when history holds none.
    """

    channel: str
    head: Position
    publications: int
    size: int
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class ChannelOverview:
    """A channel and its followers.

    :param state: ``None`` where nothing was published, and in an ephemeral channel.
    :param subscribers: connections that follow it, to whichever node.
    """

    channel: str
    state: ChannelState | None
    subscribers: int


@dataclass(frozen=True, slots=True)
class ChannelPage:
    """Channels in the order of their names' code points.

    :param next: the name the page after this one comes after; ``None`` when it is the last.
    """

    channels: Sequence[ChannelOverview]
    next: str | None


def checked_limit(limit: int | None) -> int:
    """How many there are to be on a page.

    :raises BadParameter:
    """
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise BadParameter(f"limit is a number from 1 to {MAX_LIMIT}.", field="limit")
    return limit
