"""WebSockets of nobody in particular, and which of them are of no use to anybody."""

from __future__ import annotations

from collections.abc import Callable

from notifier.expiries import Expiries


class Strangers:
    """Each has so many seconds to show who it is or to do something that goes without that; and,
    if it has done so, twice as many at most before it must do something again.

    :param seconds: 0: there is no limit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines = Expiries()
        # What they have done since their last deadline was something.
        self._useful: set[str] = set()

    def __len__(self) -> int:
        return len(self._deadlines)

    def came(self, id: str, now: float) -> None:
        """:param now: seconds, monotonic."""
        if self._seconds:
            self._deadlines.set(id, now + self._seconds)

    def forget(self, id: str) -> None:
        """It is gone, or a stranger no more."""
        self._deadlines.set(id, None)
        self._useful.discard(id)

    def useful(self, id: str) -> None:
        """It has done something that strangers may."""
        if id in self._deadlines:
            self._useful.add(id)

    def take_useless(self, now: float, follows: Callable[[str], bool]) -> list[str]:
        """Those whose time is over; they are known no more.

        :param follows: whether it is subscribed to anything.
        """
        useless = []
        for id in self._deadlines.take_due(now):
            if follows(id):
                self._useful.add(id)
            elif id in self._useful:
                self._useful.discard(id)
            else:
                useless.append(id)
                continue
            self._deadlines.set(id, now + self._seconds)
        return useless
