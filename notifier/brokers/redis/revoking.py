"""Tokens that were revoked on any node, known on all.

They are in Redis until they end, by their ids or by their users, beside a tag that changes with
each. A node that finds another tag than it knows reads all of them anew: some dozens as a rule,
100,000 of either at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence

from notifier.auth.revocations import (
    MAX_REVOCATIONS,
    AnyRevocation,
    Revocation,
    UserRevocation,
)
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import REVOKE
from notifier.errors import BrokerUnavailable

# Between two looks at the tag. Who was told at once need not wait for it.
LOOK_SECONDS = 2.5
# In one round trip.
PAGE = 1000


class Revoking:
    """What this node knows of revocations, and what Redis does, made the same.

    :param known: all that are in force here.
    :param on_read: told of those that Redis has.
    """

    def __init__(
        self,
        commands: Commands,
        names: Names,
        *,
        known: Callable[[], Sequence[AnyRevocation]],
        on_read: Callable[[Sequence[AnyRevocation]], None],
    ) -> None:
        self._commands = commands
        self._names = names
        self._known = known
        self._on_read = on_read
        # As it was when they were last read; before that no tag is like it.
        self._tag: bytes | None = b"unread"

    async def run(self) -> None:
        """Look, for as long as this node lives."""
        while True:
            with contextlib.suppress(BrokerUnavailable):
                # Until there is a next time, what is known here stays in force.
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Read what others have revoked; write what Redis has forgotten.

        :raises BrokerUnavailable:
        """
        tag = await self._commands.one(Call("GET", args=(self._names.revoked_tag,)))
        if tag == self._tag:
            return
        found = await self._read()
        self._on_read(found)
        kept = set(found)
        await self.keep([revocation for revocation in self._known() if revocation not in kept])
        # As it was before all that: what has changed since is found the next time.
        self._tag = tag

    async def keep(self, revocations: Sequence[AnyRevocation]) -> None:
        """Have them in Redis.

        :raises BrokerUnavailable:
        """
        tag = secrets.token_urlsafe(9)
        tokens = [(r.until, r.token_id) for r in revocations if isinstance(r, Revocation)]
        await self._write(self._names.revoked, tokens, tag)
        # Each is a member of its own; which moment of a user's is the latest, readers see.
        users = [
            (r.until, f"{r.before!r} {r.user}")
            for r in revocations
            if isinstance(r, UserRevocation)
        ]
        await self._write(self._names.revoked_users, users, tag)

    async def _write(self, key: str, members: Sequence[tuple[float, str]], tag: str) -> None:
        for start in range(0, len(members), PAGE):
            words: list[str | int] = [tag, MAX_REVOCATIONS]
            for until, member in members[start : start + PAGE]:
                words += [repr(until), member]
            await self._commands.one(Call(REVOKE, (key, self._names.revoked_tag), tuple(words)))

    async def _read(self) -> list[AnyRevocation]:
        found: list[AnyRevocation] = [
            Revocation(token_id, until)
            for token_id, until in (await self._members(self._names.revoked)).items()
        ]
        for member, until in (await self._members(self._names.revoked_users)).items():
            before, _, user = member.partition(" ")
            found.append(UserRevocation(user, float(before), until))
        return found

    async def _members(self, key: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for start in range(0, MAX_REVOCATIONS, PAGE):
            words = (key, start, start + PAGE - 1, "WITHSCORES")
            answer = await self._commands.one(Call("ZRANGE", args=words))
            found |= {
                member.decode(): float(until)
                for member, until in zip(answer[::2], answer[1::2], strict=True)
            }
            if len(answer) < 2 * PAGE:
                break
        return found
