"""How many tickets there are that nobody has shown yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from notifier.auth.shelf import MAX_KEPT
from notifier.errors import NotifierError, TooManyTickets, TooManyTicketsOfUser
from notifier.limits import milliseconds


class Unspent:
    """Those that this node has given out, until it sees them again or their time is over.

    One that is shown to another node counts here until its time is over, which is seconds.

    :param per_holder: how many each may have; 0 is any number.
    :param most: how many all together may have.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        per_holder: int = 0,
        *,
        most: int = MAX_KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_holder = per_holder
        self._most = most
        self._clock = clock
        # The oldest come first. When each ends, and whose it is.
        self._tickets: dict[str, tuple[float, str]] = {}
        self._of: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, ticket: str, holder: str, seconds: float) -> None:
        """It is given out.

        :param ticket: something that stands for it; all tickets are good equally long.
        :raises TooManyTicketsOfUser: it is not to be.
        :raises TooManyTickets: nor is that of anybody else.
        """
        now = self._clock()
        self._drop_ended(now)
        theirs = self._of.get(holder, {})
        limit = self._per_holder
        if limit and len(theirs) >= limit:
            raise _too_many(
                TooManyTicketsOfUser,
                f"You have {limit} tickets that were not used yet (setting max_tickets_per_user).",
                limit,
                next(iter(theirs.values())) - now,
            )
        if len(self._tickets) >= self._most:
            until, _ = next(iter(self._tickets.values()))
            raise _too_many(
                TooManyTickets,
                f"This node has given out {self._most} tickets that were not used yet.",
                self._most,
                until - now,
            )
        self._tickets[ticket] = now + seconds, holder
        self._of.setdefault(holder, {})[ticket] = now + seconds

    def remove(self, ticket: str) -> None:
        """It was shown, if it is one of ours."""
        if (found := self._tickets.pop(ticket, None)) is not None:
            _, holder = found
            theirs = self._of[holder]
            del theirs[ticket]
            if not theirs:
                del self._of[holder]

    def _drop_ended(self, now: float) -> None:
        while self._tickets:
            oldest, (until, _) = next(iter(self._tickets.items()))
            if until > now:
                break
            self.remove(oldest)


def _too_many(
    kind: type[NotifierError], sentence: str, limit: int, seconds: float
) -> NotifierError:
    return kind(sentence, limit=limit, retry_after_ms=milliseconds(seconds))
