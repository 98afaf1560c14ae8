"""Tokens that were revoked on any node, known on all.

They are in Redis until they end, by their ids or by their users, beside a tag that changes with
each. A node that finds another tag than it knows reads all of them anew: some dozens as a rule,
100,000 of either at most; so it does that in turns, of a few milliseconds each.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

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


class _Kept:
    """Those that Redis has. Names and numbers alone, since Python's collector stops the node for as
    long as it takes to look at every object that is more.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self._users: dict[str, float] = {}

    def add(self, page: Sequence[AnyRevocation]) -> None:
        for each in page:
            if isinstance(each, Revocation):
                self._tokens[each.token_id] = each.until
            else:
                self._users[_member(each)] = each.until

    def __contains__(self, revocation: AnyRevocation) -> bool:
        if isinstance(revocation, Revocation):
            return self._tokens.get(revocation.token_id) == revocation.until
        return self._users.get(_member(revocation)) == revocation.until


class Revoking:
    """What this node knows of revocations, and what Redis does, made the same.

    :param known: all that are in force here.
    :param on_read: told of those that Redis has, a page at a time, known ones among them.
    """

    def __init__(
        self,
        commands: Commands,
        names: Names,
        *,
        known: Callable[[], Iterable[AnyRevocation]],
        on_read: Callable[[Sequence[AnyRevocation]], None],
    ) -> None:
        self._commands = commands
        self._names = names
        self._known = known
        self._on_read = on_read
        # Times that what was to be kept here perhaps was not.
        self._failures = 0
        # The tag and the failures there were before both were last the same; no tag is like this.
        self._settled: tuple[bytes | None, int] = (b"unread", 0)

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
        # As it is before all that follows: what changes meanwhile is found the next time.
        state = (tag, self._failures)
        if state == self._settled:
            return
        kept = _Kept()
        async for page in self._pages():
            self._on_read(page)
            kept.add(page)
        await self.keep(await self._known_besides(kept))
        self._settled = state

    async def keep(self, revocations: Sequence[AnyRevocation]) -> None:
        """Have them in Redis.

        :raises BrokerUnavailable: they are written again when it is back, if they are known here.
        """
        try:
            await self._keep(revocations)
        except BaseException:
            self._failures += 1
            raise

    async def _keep(self, revocations: Sequence[AnyRevocation]) -> None:
        tokens = [(r.until, r.token_id) for r in revocations if isinstance(r, Revocation)]
        await self._write(self._names.revoked, tokens)
        # Each is a member of its own; which moment of a user's is the latest, readers see.
        users = [(r.until, _member(r)) for r in revocations if isinstance(r, UserRevocation)]
        await self._write(self._names.revoked_users, users)

    async def _write(self, key: str, members: Sequence[tuple[float, str]]) -> None:
        for start in range(0, len(members), PAGE):
            # Another each time: who reads in between must see that there is more.
            words: list[str | int] = [secrets.token_urlsafe(9), MAX_REVOCATIONS]
            for until, member in members[start : start + PAGE]:
                words += [repr(until), member]
            await self._commands.one(Call(REVOKE, (key, self._names.revoked_tag), tuple(words)))

    async def _known_besides(self, kept: _Kept) -> list[AnyRevocation]:
        missing = []
        for n, revocation in enumerate(self._known(), start=1):
            if n % PAGE == 0:
                await asyncio.sleep(0)
            if revocation not in kept:
                missing.append(revocation)
        return missing

    async def _pages(self) -> AsyncIterator[list[AnyRevocation]]:
        async for page in self._members(self._names.revoked):
            yield [Revocation(token_id, until) for token_id, until in page]
        async for page in self._members(self._names.revoked_users):
            yield [_of_user(member, until) for member, until in page]

    async def _members(self, key: str) -> AsyncIterator[list[tuple[str, float]]]:
        for start in range(0, MAX_REVOCATIONS, PAGE):
            words = (key, start, start + PAGE - 1, "WITHSCORES")
            answer = await self._commands.one(Call("ZRANGE", args=words))
            yield [
                (member.decode(), float(until))
                for member, until in zip(answer[::2], answer[1::2], strict=True)
            ]
            if len(answer) < 2 * PAGE:
                break


def _member(revocation: UserRevocation) -> str:
    return f"{revocation.before!r} {revocation.user}"


def _of_user(member: str, until: float) -> UserRevocation:
    before, _, user = member.partition(" ")
    return UserRevocation(user, float(before), until)
