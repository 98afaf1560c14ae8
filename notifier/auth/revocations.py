"""Tokens that count no more, although their time is not over."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from notifier.auth.identity import Identity

MAX_TOKEN_ID_BYTES = 200
# Of tokens, and of users.
MAX_REVOCATIONS = 100_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token that is good no longer.

    :param token_id: its ``jti``.
    :param until: when it would have expired, in seconds since 1970.
    """

    token_id: str
    until: float


@dataclass(frozen=True, slots=True)
class UserRevocation:
    """All tokens of a user that were issued before a moment, or that don't say when.

    :param user: their ``sub``.
    :param before: the moment, in seconds since 1970.
    :param until: when the last of them would have expired.
    """

    user: str
    before: float
    until: float


AnyRevocation = Revocation | UserRevocation


class Revocations:
    """What is revoked, each until its tokens would have expired anyway.

    :param limit: ids of tokens that are kept, and users; of more, those whose tokens end first are
        forgotten.
    """

    def __init__(self, limit: int = MAX_REVOCATIONS) -> None:
        self._tokens = _Ends(limit)
        self._before: dict[str, float] = {}
        self._users = _Ends(limit, lambda user: self._before.pop(user, None))

    def __len__(self) -> int:
        return len(self._tokens) + len(self._users)

    @property
    def forgotten(self) -> int:
        """How many were more than are kept."""
        return self._tokens.forgotten + self._users.forgotten

    def in_force(self, now: float) -> list[Revocation]:
        """Tokens, in no order."""
        return [Revocation(id, until) for id, until in self._tokens.after(now)]

    def users_in_force(self, now: float) -> list[UserRevocation]:
        """In no order."""
        return [
            UserRevocation(user, self._before[user], until)
            for user, until in self._users.after(now)
        ]

    def add(self, revocation: AnyRevocation, now: float) -> None:
        """From now on it is in force."""
        match revocation:
            case Revocation(token_id, until):
                self.revoke(token_id, until, now)
            case UserRevocation(user, before, until):
                self.revoke_user(user, before, until, now)

    def revoke(self, token_id: str, until: float, now: float) -> None:
        """Let the token be good no longer.

        :param until: when it expires, in seconds since 1970; a later one given before stays.
        """
        self._tokens.keep(token_id, until, now)

    def revoke_user(self, user: str, before: float, until: float, now: float) -> None:
        """Let no token be good any longer that was issued to the user before then.

        :param before: in seconds since 1970; a later one given before stays, and so it is with
            ``until``.
        """
        self._users.keep(user, until, now)
        if self._users.until(user) > now:
            self._before[user] = max(before, self._before.get(user, 0.0))

    def is_revoked(self, token_id: str, now: float) -> bool:
        return self._tokens.until(token_id) > now

    def covers(self, identity: Identity, now: float) -> bool:
        """Whether the token that it came with is revoked, by its id or with all of its user's."""
        token_id = identity.credential_id
        if token_id is not None and self.is_revoked(token_id, now):
            return True
        if self._users.until(identity.name) <= now:
            return False
        # Who does not say when it was issued may have been at any time.
        return (identity.issued_at or 0.0) < self._before[identity.name]


class _Ends:
    """When what ends, by name.

    :param limit: names that are kept; of more, those that end first are forgotten.
    :param on_dropped: told of names that are kept no longer.
    """

    def __init__(self, limit: int, on_dropped: Callable[[str], object] = lambda name: None) -> None:
        self._limit = limit
        self._on_dropped = on_dropped
        self._until: dict[str, float] = {}
        # Soonest first. A name that was kept again is here twice; what `_until` says counts.
        self._ends: list[tuple[float, str]] = []
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._until)

    def until(self, name: str) -> float:
        return self._until.get(name, 0.0)

    def after(self, now: float) -> list[tuple[str, float]]:
        return [(name, until) for name, until in self._until.items() if until > now]

    def keep(self, name: str, until: float, now: float) -> None:
        """A later end given before stays."""
        self._drop_ended(now)
        if until <= now or self.until(name) >= until:
            return
        self._until[name] = until
        heapq.heappush(self._ends, (until, name))
        while len(self._until) > self._limit:
            self.forgotten += self._drop_first()
        if len(self._ends) > 2 * self._limit:
            self._ends = [(end, each) for each, end in self._until.items()]
            heapq.heapify(self._ends)

    def _drop_ended(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._drop_first()

    def _drop_first(self) -> bool:
        """Whether it was in force until now."""
        end, name = heapq.heappop(self._ends)
        if self._until.get(name) != end:
            return False
        del self._until[name]
        self._on_dropped(name)
        return True
