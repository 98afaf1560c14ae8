"""Tokens that count no more, although their time is not over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notifier.auth.identity import Identity
from notifier.errors import TooManyRevocations
from notifier.expiries import Expiries

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

    :param limit: ids of tokens that are kept, and users. Of more, which there are only where nodes
        that don't hear each other have room for them, those that end first are forgotten.
    :ivar forgotten: how many those were.
    """

    def __init__(self, limit: int = MAX_REVOCATIONS) -> None:
        self._limit = limit
        self._tokens = Expiries()
        self._users = Expiries()
        # Of each user that is among them.
        self._before: dict[str, float] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._tokens) + len(self._users)

    def in_force(self, now: float) -> Iterator[Revocation]:
        """Tokens as they are now, in no order; each is made when it is asked for."""
        tokens = list(self._tokens.items())
        return (Revocation(id, until) for id, until in tokens if until > now)

    def users_in_force(self, now: float) -> Iterator[UserRevocation]:
        """As :meth:`in_force`."""
        users = [(user, self._before[user], until) for user, until in self._users.items()]
        return (UserRevocation(*each) for each in users if each[2] > now)

    def check_room(self, revocation: AnyRevocation, now: float) -> None:
        """See that it would be in force without another being forgotten for it.

        :raises TooManyRevocations:
        """
        match revocation:
            case Revocation(name):
                ends, what = self._tokens, "tokens are revoked by their ids"
            case UserRevocation(name):
                ends, what = self._users, "users are revoked"
        self._drop_ended(now)
        if name not in ends and len(ends) >= self._limit:
            raise TooManyRevocations(
                f"{self._limit} {what}, and no more are remembered: this one is not.",
                limit=self._limit,
            )

    def add(self, revocation: AnyRevocation, now: float) -> bool:
        """From now on it is in force; whether it was not before."""
        match revocation:
            case Revocation(token_id, until):
                return self.revoke(token_id, until, now)
            case UserRevocation(user, before, until):
                return self.revoke_user(user, before, until, now)

    def revoke(self, token_id: str, until: float, now: float) -> bool:
        """Let the token be good no longer; whether it was until now, or would have been again.

        :param until: when it expires, in seconds since 1970; a later one given before stays.
        """
        self._drop_ended(now)
        if not _extend(self._tokens, token_id, until, now):
            return False
        if len(self._tokens) > self._limit:
            self.forgotten += 1
            return self._tokens.take_first() != token_id
        return True

    def revoke_user(self, user: str, before: float, until: float, now: float) -> bool:
        """Let no token be good any longer that was issued to the user before then; whether one
        may have been until now, or would have been again.

        :param before: in seconds since 1970; a later one given before stays, and so it is with
            ``until``.
        """
        self._drop_ended(now)
        extended = _extend(self._users, user, until, now)
        if user not in self._users or not (extended or before > self._before[user]):
            return False
        self._before[user] = max(before, self._before.get(user, 0.0))
        if len(self._users) > self._limit:
            self.forgotten += 1
            first = self._users.take_first()
            del self._before[first]
            return first != user
        return True

    def is_revoked(self, token_id: str, now: float) -> bool:
        return (self._tokens.at(token_id) or 0.0) > now

    def covers(self, identity: Identity, now: float) -> bool:
        """Whether the token that it came with is revoked, by its id or with all of its user's."""
        token_id = identity.credential_id
        if token_id is not None and self.is_revoked(token_id, now):
            return True
        if (self._users.at(identity.name) or 0.0) <= now:
            return False
        # Who does not say when it was issued may have been at any time.
        return (identity.issued_at or 0.0) < self._before[identity.name]

    def _drop_ended(self, now: float) -> None:
        self._tokens.take_due(now)
        for user in self._users.take_due(now):
            del self._before[user]


def _extend(ends: Expiries, name: str, until: float, now: float) -> bool:
    """Whether it ends later now, or is new."""
    if until <= max(now, ends.at(name) or 0.0):
        return False
    ends.set(name, until)
    return True
