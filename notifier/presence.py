"""Who is on which channel, and who watches them come and go.

The members are those of this node and, as its fleet tells of them, of the others. Watchers are
told who is there when all of it is known. While they are few, each who joins or leaves is told of
at once. More than may be listed are
counted, and the count is told at most once a second: however many come at once, each costs an
entry in a dict. When they are few again, the watchers are told anew who is there.

::

            more than max_members
    LISTED ───────────────────────▶ COUNTED
       ▲                              │ every second in which somebody came or went
       └──────── no more than ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from notifier.attendance import Attendance
from notifier.channels import Namespaces
from notifier.errors import PresenceOff
from notifier.members import Member, Members
from notifier.roster import Roster, merged
from notifier.sink import Sink
from notifier.wire import messages

# Between two counts of one channel.
COUNT_SECONDS = 1.0
# Watchers told a count, or channels that lose a node, before everybody else has a turn.
BREATH = 128


class Presence:
    """The members of the channels this node follows, in namespaces that show them.

    :param max_members: that are listed; of more only the count is told.
    :param member_of: introduces a connection, as of now.
    :param gather: asks who is there on other nodes; answer by :meth:`gathered`, and from then on
        by :meth:`attended` and :meth:`departed`.
    :param call_soon: run a callback in the next turn of the loop.
    :param call_later: run it so many seconds later.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        max_members: int,
        member_of: Callable[[Sink], Member],
        gather: Callable[[str], None],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._namespaces = namespaces
        self._max_members = max_members
        self._member_of = member_of
        self._gather = gather
        self._call_soon = call_soon
        self._call_later = call_later
        self._rosters: dict[str, Roster] = {}

    def is_on(self, channel: str) -> bool:
        """Whether the channel's namespace shows who is there."""
        return self._namespaces.of(channel).presence

    def check(self, channel: str) -> None:
        """:raises PresenceOff:"""
        if not self.is_on(channel):
            raise PresenceOff(
                f"Who is on {channel!r} is not shown (setting presence).", channel=channel
            )

    def of(self, channel: str) -> Members:
        """Who is on the channel, as far as this node is told; nobody where presence is off, or
        where nobody here follows it.
        """
        roster = self._rosters.get(channel)
        return Members(channel, 0, []) if roster is None else roster.everybody()

    def with_others(self, channel: str, others: Iterable[Attendance]) -> Members:
        """Who is on the channel: those here, and these elsewhere."""
        here = self.attendance(channel)
        everybody = list(others) if here is None else [here, *others]
        return merged(channel, everybody, self._max_members)

    def attendance(self, channel: str) -> Attendance | None:
        """Those of this node alone, as the others are told; ``None``: nobody."""
        roster = self._rosters.get(channel)
        return None if roster is None else roster.here()

    # --- members of this node ---

    def join(self, channel: str, sink: Sink) -> None:
        """The connection follows the channel from now on. Needs presence to be on."""
        roster = self._rosters.get(channel)
        new = roster is None
        if roster is None:
            roster = self._rosters[channel] = Roster(channel, self._max_members)
        member = roster.members[sink] = self._member_of(sink)
        self._changed(roster, came=[member])
        if new:
            self._gather(channel)

    def introduce_anew(self, channel: str, sink: Sink) -> bool:
        """The connection may be of somebody else than when it joined; whether it is."""
        roster = self._rosters.get(channel)
        before = None if roster is None else roster.members.get(sink)
        if roster is None or before is None:
            return False
        now = replace(self._member_of(sink), since_ms=before.since_ms)
        if now == before:
            return False
        roster.members[sink] = now
        self._changed(roster, left=[before], came=[now])
        return True

    def leave(self, channel: str, sink: Sink) -> None:
        """It does so no more, if it did."""
        roster = self._rosters.get(channel)
        member = None if roster is None else roster.members.pop(sink, None)
        if roster is None or member is None:
            return
        roster.newcomers.pop(sink, None)
        roster.watchers.pop(sink, None)
        if roster.members:
            self._changed(roster, left=[member])
        else:
            del self._rosters[channel]

    # --- members of the others ---

    def gathered(self, channel: str, others: Mapping[str, Attendance]) -> None:
        """All there are on other nodes, in place of what was told before."""
        roster = self._rosters.get(channel)
        if roster is None:
            return
        if roster.gathered:
            for node in roster.others.keys() | others.keys():
                self._attended(roster, node, others.get(node))
            return
        roster.gathered = True
        roster.others = dict(others)
        roster.counted = roster.too_many
        self._greet(roster)

    def attended(self, channel: str, node: str, attendance: Attendance | None) -> None:
        """All there are on this one of them now; ``None``: nobody."""
        roster = self._rosters.get(channel)
        if roster is not None and roster.gathered:
            self._attended(roster, node, attendance)

    def departed(self, node: str) -> None:
        """It is gone, and so are all who were there."""
        losing = [
            (roster, roster.others[node])
            for roster in self._rosters.values()
            if node in roster.others
        ]
        self._lose(node, iter(losing))

    def _lose(self, node: str, losing: Iterator[tuple[Roster, Attendance]]) -> None:
        some = list(islice(losing, BREATH))
        for roster, attendance in some:
            # It may be back by the time their turn has come.
            if roster.others.get(node) is attendance:
                self._attended(roster, node, None)
        if some:
            self._call_soon(partial(self._lose, node, losing))

    def _attended(self, roster: Roster, node: str, attendance: Attendance | None) -> None:
        before = roster.others.pop(node, None)
        if attendance is not None:
            roster.others[node] = attendance
        had = _by_connection(before)
        has = _by_connection(attendance)
        self._changed(
            roster,
            left=[member for id, member in had.items() if has.get(id) != member],
            came=[member for id, member in has.items() if had.get(id) != member],
            uncounted=_count(before) - len(had) != _count(attendance) - len(has),
        )

    # --- watchers ---

    def watch(self, channel: str, sink: Sink) -> None:
        """Tell the member who is there, and of everyone who joins or leaves from now on."""
        roster = self._rosters.get(channel)
        if roster is None or sink not in roster.members or sink in roster.watchers:
            return
        if roster.gathered and not roster.newcomers:
            roster.watchers[sink] = None
            sink.say("presence", messages.presence_now(roster.everybody()))
        else:
            roster.newcomers[sink] = None

    def unwatch(self, channel: str, sink: Sink) -> None:
        """Tell it no more."""
        roster = self._rosters.get(channel)
        if roster is not None:
            roster.newcomers.pop(sink, None)
            roster.watchers.pop(sink, None)

    # --- telling ---

    def _greet(self, roster: Roster) -> None:
        """Tell some of the newcomers who is there; the others in their turn."""
        some = list(islice(roster.newcomers, BREATH))
        if not some:
            return
        message = messages.presence_now(roster.everybody())
        for sink in some:
            # Telling one may bring about the end of another.
            if sink in roster.newcomers:
                del roster.newcomers[sink]
                roster.watchers[sink] = None
                sink.say("presence", message)
        if roster.newcomers:
            self._call_soon(partial(self._greet, roster))

    def _changed(
        self,
        roster: Roster,
        *,
        left: Sequence[Member] = (),
        came: Sequence[Member] = (),
        uncounted: bool = False,
    ) -> None:
        """:param uncounted: more have come or gone than are named."""
        if not (left or came or uncounted):
            return
        if roster.counted or roster.too_many:
            roster.counted = roster.changed = True
            if not roster.due:
                roster.due = True
                self._call_later(COUNT_SECONDS, partial(self._count, roster))
        elif roster.watchers:
            # No more than may be listed, for they are members.
            count = roster.count + len(left) - len(came)
            for event, members, step in (("leave", left, -1), ("join", came, 1)):
                for member in members:
                    count += step
                    message = messages.presence_event(
                        roster.channel, event, count=count, member=member
                    )
                    for sink in list(roster.watchers):
                        sink.say("presence", message)

    def _count(self, roster: Roster) -> None:
        roster.changed = False
        roster.counted = roster.too_many
        self._tell(roster, iter(list(roster.watchers)))

    def _tell(self, roster: Roster, waiting: Iterator[Sink]) -> None:
        """Tell some of those who wait what is true now; the others in their turn."""
        some = list(islice(waiting, BREATH))
        if some:
            if roster.counted:
                message = messages.presence_event(roster.channel, "count", count=roster.count)
            else:
                message = messages.presence_now(roster.everybody())
            for sink in some:
                if sink in roster.watchers:
                    sink.say("presence", message)
            self._call_soon(partial(self._tell, roster, waiting))
        elif roster.changed:
            self._call_later(COUNT_SECONDS, partial(self._count, roster))
        else:
            roster.due = False


def _by_connection(attendance: Attendance | None) -> dict[str, Member]:
    if attendance is None or attendance.members is None:
        return {}
    return {member.connection: member for member in attendance.members}


def _count(attendance: Attendance | None) -> int:
    return 0 if attendance is None else attendance.count
