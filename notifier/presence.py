"""Who is on which channel of this node, and who watches them come and go.

While they are few, each who joins or leaves is told of at once. More than may be listed are
counted, and the count is told at most once a second: however many come at once, each costs an
entry in a dict. When they are few again, the watchers are told anew who is there.

::

            more than max_members
    LISTED ───────────────────────▶ COUNTED
       ▲                              │ every second in which somebody came or went
       └──────── no more than ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from notifier.channels import Namespaces
from notifier.errors import PresenceOff
from notifier.members import Member, Members
from notifier.sink import Sink
from notifier.wire import messages

# Between two counts of one channel.
COUNT_SECONDS = 1.0
# Watchers told a count before everybody else has a turn.
BREATH = 128


class Roster:
    """One channel's members and watchers. A watcher is a member.

    :ivar counted: they were more than may be listed when last told.
    :ivar changed: since the last count was told.
    :ivar due: the next count is on its way.
    """

    __slots__ = ("changed", "channel", "counted", "due", "members", "watchers")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.members: dict[Sink, Member] = {}
        self.watchers: dict[Sink, None] = {}
        self.counted = False
        self.changed = False
        self.due = False


class Presence:
    """The members of this node's channels, in namespaces that show them.

    :param max_members: that are listed; of more only the count is told.
    :param member_of: introduces a connection, as of now.
    :param call_soon: run a callback in the next turn of the loop.
    :param call_later: run it so many seconds later.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        max_members: int,
        member_of: Callable[[Sink], Member],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._namespaces = namespaces
        self._max_members = max_members
        self._member_of = member_of
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
        """Who is on the channel, by this node; nobody where presence is off."""
        roster = self._rosters.get(channel)
        return Members(channel, 0, []) if roster is None else self._members(roster)

    # --- members ---

    def join(self, channel: str, sink: Sink) -> None:
        """The connection follows the channel from now on. Needs presence to be on."""
        roster = self._rosters.get(channel)
        if roster is None:
            roster = self._rosters[channel] = Roster(channel)
        member = roster.members[sink] = self._member_of(sink)
        self._changed(roster, "join", member)

    def leave(self, channel: str, sink: Sink) -> None:
        """It does so no more, if it did."""
        roster = self._rosters.get(channel)
        member = None if roster is None else roster.members.pop(sink, None)
        if roster is None or member is None:
            return
        roster.watchers.pop(sink, None)
        if roster.members:
            self._changed(roster, "leave", member)
        else:
            del self._rosters[channel]

    # --- watchers ---

    def watch(self, channel: str, sink: Sink) -> None:
        """Tell the member who is there, and of everyone who joins or leaves from now on."""
        roster = self._rosters.get(channel)
        if roster is None or sink not in roster.members or sink in roster.watchers:
            return
        roster.watchers[sink] = None
        sink.say("presence", messages.presence_now(self._members(roster)))

    def unwatch(self, channel: str, sink: Sink) -> None:
        """Tell it no more."""
        roster = self._rosters.get(channel)
        if roster is not None:
            roster.watchers.pop(sink, None)

    # --- telling ---

    def _changed(self, roster: Roster, event: str, member: Member) -> None:
        count = len(roster.members)
        if roster.counted or count > self._max_members:
            roster.counted = roster.changed = True
            if not roster.due:
                roster.due = True
                self._call_later(COUNT_SECONDS, partial(self._count, roster))
        elif roster.watchers:
            message = messages.presence_event(roster.channel, event, count=count, member=member)
            # No more than may be listed, for they are members.
            for sink in list(roster.watchers):
                sink.say("presence", message)

    def _count(self, roster: Roster) -> None:
        roster.changed = False
        roster.counted = len(roster.members) > self._max_members
        self._tell(roster, iter(list(roster.watchers)))

    def _tell(self, roster: Roster, waiting: Iterator[Sink]) -> None:
        """Tell some of those who wait what is true now; the others in their turn."""
        some = list(islice(waiting, BREATH))
        if some:
            if roster.counted:
                count = len(roster.members)
                message = messages.presence_event(roster.channel, "count", count=count)
            else:
                message = messages.presence_now(self._members(roster))
            for sink in some:
                if sink in roster.watchers:
                    sink.say("presence", message)
            self._call_soon(partial(self._tell, roster, waiting))
        elif roster.changed:
            self._call_later(COUNT_SECONDS, partial(self._count, roster))
        else:
            roster.due = False

    def _members(self, roster: Roster) -> Members:
        count = len(roster.members)
        listed = None if count > self._max_members else list(roster.members.values())
        return Members(roster.channel, count, listed)
