"""Tokens that were taken on one node, told to the others."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping

from pydantic_core import from_json, to_json

from notifier.brokers.fleet import MAX_BUCKET_NAME
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import RING
from notifier.errors import BrokerUnavailable

# Between two messages of a node.
TELL_SECONDS = 0.5
# What telling may take; what is not told by then is not news any more.
LATE_SECONDS = 1.0
# Buckets in one message, some 15 KiB; and that wait for the next ones.
BUCKETS_TOLD = 500
BUCKETS_WAITING = 5000
# Above what a node could take in a moment, and exact as a float.
MAX_TOKENS = 10**12


class Spending:
    """What was taken here and is to be told, and what is heard of the others (an
    :class:`~notifier.brokers.redis.doorbell.Ear`).

    The first is told at once, what is taken in the next moment when it is over. Of more buckets
    than a message holds, those that most was taken from go first; of more than may wait, those that
    have waited longest are dropped. A crowd that takes little of much hides nobody who takes much.

    :param on_spent: told what was taken on another node.
    """

    def __init__(
        self,
        commands: Commands,
        doorbells: Doorbells,
        names: Names,
        node: str,
        *,
        on_spent: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._commands = commands
        self._doorbells = doorbells
        self._bell = names.spent_bell
        self._node = node
        self._on_spent = on_spent
        self._untold: dict[str, int] = {}
        self._news = asyncio.Event()

    def listen(self) -> None:
        """From now on, or from when Redis is there."""
        self._doorbells.listen(self._bell, self)

    def ignore(self) -> None:
        """No more."""
        self._doorbells.ignore(self._bell)

    def add(self, bucket: str, tokens: int) -> None:
        """So many were taken."""
        untold = self._untold
        before = untold.get(bucket)
        if before is None and len(untold) >= BUCKETS_WAITING:
            del untold[next(iter(untold))]
        untold[bucket] = (before or 0) + tokens
        self._news.set()

    async def run(self) -> None:
        """Tell what there is, for as long as this node lives."""
        while True:
            await self._news.wait()
            await self._tell()
            await asyncio.sleep(TELL_SECONDS)

    async def _tell(self) -> None:
        told = self._next()
        if not self._untold:
            self._news.clear()
        message = to_json({"from": self._node, "spent": told})
        try:
            async with asyncio.timeout(LATE_SECONDS):
                call = Call(RING, (self._bell,), (self._commands.publish, message))
                await self._commands.one(call)
        except (BrokerUnavailable, TimeoutError):
            # Not later: by then who was let through has been held to the limit for as long, and
            # the others would have it wait for what is past.
            self._untold.clear()
            self._news.clear()

    def _next(self) -> dict[str, int]:
        """What the next message tells; it waits no more."""
        untold = self._untold
        if len(untold) <= BUCKETS_TOLD:
            self._untold = {}
            return untold
        told = dict(heapq.nlargest(BUCKETS_TOLD, untold.items(), key=lambda item: item[1]))
        for bucket in told:
            del untold[bucket]
        return told

    # --- the Ear ---

    def hears(self) -> None:
        """What was missed is not made up for."""

    def rung(self, bell: bytes, message: bytes) -> None:
        match from_json(message):
            case {"from": node, "spent": dict(spent)} if node != self._node:
                tokens = {bucket: count for bucket, count in spent.items() if _sound(bucket, count)}
                self._on_spent(tokens)


def _sound(bucket: str, count: object) -> bool:
    """Whether a node could have told this."""
    return len(bucket) <= MAX_BUCKET_NAME and type(count) is int and 0 < count <= MAX_TOKENS
