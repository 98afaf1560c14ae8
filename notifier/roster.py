"""Who is on one channel: those of this node, those on others, and who watches them."""

from __future__ import annotations

from collections.abc import Sequence

from notifier.attendance import Attendance
from notifier.members import Member, Members
from notifier.sink import Sink


class Roster:
    """One channel's members and watchers. A watcher is a member of this node.

    :param max_members: that are listed; of more only the count is told.
    :ivar members: of this node.
    :ivar others: who is there on other nodes, by their ids.
    :ivar gathered: who that is, is known.
    :ivar newcomers: watchers that are yet to be told who is there.
    :ivar counted: they were more than may be listed when last told.
    :ivar changed: since the last count was told.
    :ivar due: the next count is on its way.
    """

    __slots__ = ("_max_members", "changed", "channel", "counted", "due", "gathered", "members",
                 "newcomers", "others", "watchers")  # fmt: skip

    def __init__(self, channel: str, max_members: int) -> None:
        self._max_members = max_members
        self.channel = channel
        self.members: dict[Sink, Member] = {}
        self.others: dict[str, Attendance] = {}
        self.gathered = False
        self.newcomers: dict[Sink, None] = {}
        self.watchers: dict[Sink, None] = {}
        self.counted = False
        self.changed = False
        self.due = False

    @property
    def count(self) -> int:
        """How many are there, on all nodes."""
        count = len(self.members)
        for attendance in self.others.values():
            count += attendance.count
        return count

    @property
    def too_many(self) -> bool:
        """To be listed; or there are those on another node."""
        return self.count > self._max_members or any(
            attendance.members is None for attendance in self.others.values()
        )

    def here(self) -> Attendance:
        """Those of this node alone."""
        few = len(self.members) <= self._max_members
        return Attendance(len(self.members), list(self.members.values()) if few else None)

    def everybody(self) -> Members:
        return merged(self.channel, [self.here(), *self.others.values()], self._max_members)


def merged(channel: str, attendances: Sequence[Attendance], max_members: int) -> Members:
    """All of them, in the order they joined."""
    count = 0
    listed: list[Member] | None = []
    for attendance in attendances:
        count += attendance.count
        if attendance.members is None:
            listed = None
        elif listed is not None:
            listed.extend(attendance.members)
    if listed is None or count > max_members:
        return Members(channel, count, None)
    if len(attendances) > 1:
        listed.sort(key=lambda member: member.since_ms)
    return Members(channel, count, listed)
