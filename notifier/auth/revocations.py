"""Tokens that count no more, although their time is not over."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

MAX_TOKEN_ID_BYTES = 200
MAX_REVOCATIONS = 100_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token that is good no longer.

    :param token_id: its ``jti``.
    :param until: when it would have expired, in seconds since 1970.
    """

    token_id: str
    until: float


class Revocations:
    """Ids of tokens (``jti``) that are revoked, each until its token would have expired anyway.

    :param limit: ids that are kept; of more, those whose tokens end first are forgotten.
    """

    def __init__(self, limit: int = MAX_REVOCATIONS) -> None:
        self._limit = limit
        self._until: dict[str, float] = {}
        # Soonest first. An id that was revoked again is here twice; what `_until` says counts.
        self._ends: list[tuple[float, str]] = []
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._until)

    def in_force(self, now: float) -> list[Revocation]:
        """In no order."""
        return [Revocation(id, until) for id, until in self._until.items() if until > now]

    def revoke(self, token_id: str, until: float, now: float) -> None:
        """Let the token be good no longer.

        :param until: when it expires, in seconds since 1970; a later one given before stays.
        """
        self._drop_ended(now)
        if until <= now or self._until.get(token_id, 0.0) >= until:
            return
        self._until[token_id] = until
        heapq.heappush(self._ends, (until, token_id))
        while len(self._until) > self._limit:
            self._drop_first()
        if len(self._ends) > 2 * self._limit:
            self._ends = [(end, token) for token, end in self._until.items()]
            heapq.heapify(self._ends)

    def is_revoked(self, token_id: str, now: float) -> bool:
        return self._until.get(token_id, 0.0) > now

    def _drop_ended(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            end, token_id = heapq.heappop(self._ends)
            if self._until.get(token_id) == end:
                del self._until[token_id]

    def _drop_first(self) -> None:
        end, token_id = heapq.heappop(self._ends)
        if self._until.get(token_id) == end:
            del self._until[token_id]
            self.forgotten += 1
