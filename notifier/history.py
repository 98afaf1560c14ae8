"""A stretch of a channel's log, as it is read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.notification import Gap, Position, Publication


@dataclass(frozen=True, slots=True)
class History:
    """A stretch of a channel's log, in order.

    :param start: the stretch begins after this.
    :param head: the newest position of the channel; ``None`` when it is ephemeral.
    :param gap: what ``since`` asked for and is not there any more.
    :param floor_time_ms: when the newest lost publication was published; 0 if none was lost.
    :param complete: nothing older than the stretch is left.
    :param more: there are publications between the last of these and the head.
    """

    channel: str
    start: Position | None
    head: Position | None
    publications: Sequence[Publication]
    gap: Gap | None = None
    floor_time_ms: int = 0
    complete: bool = True
    more: bool = False
