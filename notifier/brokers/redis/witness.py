"""Rollbacks: a Redis that has lost what it acknowledged, as a failover may bring it about.

Replication is asynchronous: a replica that becomes the master may lack the last publications. The
log it has is then continued with offsets that others know for something else. Who has heard them
notices; and for channels that nobody listens to, a node remembers what it was told was stored.
The log gets a new epoch, and everyone concerned a gap.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.memory import LENGTH, Memory
from notifier.brokers.redis.reading import Reading
from notifier.brokers.redis.refusals import checked
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.notification import Position

# What was stored is remembered for so long: replicas lag by seconds, not minutes.
MEMORY_SECONDS = 60.0
# Channels of which it is; some 5 KiB each at most.
MAX_CHANNELS = 5_000
BATCH = 64
# Before Redis is asked again that did not answer.
RETRY_SECONDS = 0.5


class _Testimony:
    """What was stored in one channel, in one epoch."""

    __slots__ = ("last", "memory", "time")

    def __init__(self, place: Position) -> None:
        self.memory = Memory()
        self.last = place
        self.time = 0.0


class Witness:
    """:param clock: seconds, monotonic."""

    def __init__(
        self, commands: Commands, calls: Calls, errands: Errands, clock: Callable[[], float]
    ) -> None:
        self._commands = commands
        self._calls = calls
        self._errands = errands
        self._clock = clock
        # The one that was longest ago first.
        self._testimonies: OrderedDict[str, _Testimony] = OrderedDict()
        # Those that are to be compared with what Redis has.
        self._doubted: dict[str, None] = {}
        self._comparing = False

    def stored(self, channel: str, place: Position, id: str) -> None:
        """Redis says that it has it. When that can't be with all it said before, it is doubted."""
        now = self._clock()
        testimony = self._testimonies.get(channel)
        if testimony is None or testimony.last.epoch != place.epoch:
            testimony = self._testimonies[channel] = _Testimony(place)
        elif place.offset <= testimony.last.offset:
            self._doubt([channel])
            return
        testimony.memory.note(place.offset, id)
        testimony.last = place
        testimony.time = now
        self._testimonies.move_to_end(channel)
        if len(self._testimonies) > MAX_CHANNELS or self._oldest.time < now - MEMORY_SECONDS:
            self._testimonies.popitem(last=False)

    @property
    def _oldest(self) -> _Testimony:
        return next(iter(self._testimonies.values()))

    def doubt(self) -> None:
        """Redis was away, or is another: it may have lost something."""
        oldest = self._clock() - MEMORY_SECONDS
        while self._testimonies and self._oldest.time < oldest:
            self._testimonies.popitem(last=False)
        self._doubt(list(self._testimonies))

    def _doubt(self, channels: list[str]) -> None:
        self._doubted.update(dict.fromkeys(channels))
        if self._doubted and not self._comparing:
            self._comparing = True
            self._errands.run(self._compare_all())

    async def _compare_all(self) -> None:
        try:
            while self._doubted:
                batch = list(islice(self._doubted, BATCH))
                for channel in batch:
                    del self._doubted[channel]
                failed = await self._compare(batch)
                if failed:
                    # Behind the others, whose shard may be there.
                    self._doubted.update(dict.fromkeys(failed))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._comparing = False

    async def _compare(self, channels: list[str]) -> list[str]:
        """See whether Redis still has what it had; those of which it did not say."""
        told = [(c, self._testimonies[c]) for c in channels if c in self._testimonies]
        # The place that was asked about: more may be stored before the answer is there.
        asked = [testimony.last for _, testimony in told]
        try:
            answers = await self._commands.run(
                [
                    self._calls.follow(channel, place, entries=0)
                    for (channel, _), place in zip(told, asked, strict=True)
                ]
            )
        except BrokerUnavailable:
            return channels
        failed = []
        for (channel, testimony), place, answer in zip(told, asked, answers, strict=True):
            try:
                if testimony.memory.contradicts(Reading.of(place, checked(answer))):
                    await self.fork(channel, place, testimony.memory)
                    self._testimonies.pop(channel, None)
            except BrokerUnavailable:
                failed.append(channel)
        return failed

    async def fork(self, channel: str, seen: Position, memory: Memory) -> None:
        """Have the log begin a new epoch: it is not the one that was seen.

        :raises BrokerUnavailable:
        """
        start = Position(seen.epoch, memory.begins(seen.offset))
        call = self._calls.follow(channel, start, entries=LENGTH + 1)
        reading = Reading.of(None, await self._commands.one(call))
        if reading.epoch == seen.epoch:
            common = memory.common(reading, seen.offset)
            await self._commands.one(self._calls.fork(channel, seen, common))
