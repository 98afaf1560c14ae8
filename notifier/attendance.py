"""Who follows a channel on one node, as the other nodes are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from notifier.members import Member


@dataclass(frozen=True, slots=True)
class Attendance:
    """A node's connections that follow a channel: one at least.

    :param members: who they are, in the order they joined; ``None`` where that is not shown, or
        they are too many to be listed.
    """

    count: int
    members: Sequence[Member] | None = None
