"""Rollbacks: a Redis that has lost what it acknowledged, as a failover may bring it about.

Replication is asynchronous: a replica that becomes the master may lack the last publications. The
log it has is then continued with offsets that others know for something else. Who has heard them
notices; and for channels that nobody listens to, a node remembers what it was told was stored.
The log gets a new epoch, and everyone concerned a gap.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands, checked
from notifier.brokers.redis.memory import LENGTH, Memory
from notifier.brokers.redis.reading import Reading
from notifier.notification import Position

# What was stored is remembered for so long: replicas lag by seconds, not minutes.
MEMORY_SECONDS = 60.0
MAX_CHANNELS = 10_000
BATCH = 64


class _Testimony:
    """What was stored in one channel, in one epoch."""

    __slots__ = ("last", "memory", "time")

    def __init__(self, place: Position) -> None:
        self.memory = Memory()
        self.last = place
        self.time = 0.0


class Witness:
    """:param clock: seconds, monotonic."""

    def __init__(self, commands: Commands, calls: Calls, clock: Callable[[], float]) -> None:
        self._commands = commands
        self._calls = calls
        self._clock = clock
        # The one that was longest ago first.
        self._testimonies: OrderedDict[str, _Testimony] = OrderedDict()

    def stored(self, channel: str, place: Position, id: str) -> bool:
        """Redis says that it has it; whether that can be true with all it said before."""
        testimony = self._testimonies.get(channel)
        if testimony is None or testimony.last.epoch != place.epoch:
            testimony = self._testimonies[channel] = _Testimony(place)
        elif place.offset <= testimony.last.offset:
            return False
        testimony.memory.note(place.offset, id)
        testimony.last = place
        testimony.time = self._clock()
        self._testimonies.move_to_end(channel)
        if len(self._testimonies) > MAX_CHANNELS:
            self._testimonies.popitem(last=False)
        return True

    async def testify(self) -> None:
        """Redis was away: see whether it still has what it had.

        :raises BrokerUnavailable:
        """
        oldest = self._clock() - MEMORY_SECONDS
        while self._testimonies and next(iter(self._testimonies.values())).time < oldest:
            self._testimonies.popitem(last=False)
        remaining = iter(list(self._testimonies.items()))
        while batch := list(islice(remaining, BATCH)):
            # The place that was asked about: more may be stored before the answer is there.
            asked = [testimony.last for _, testimony in batch]
            answers = await self._commands.run(
                [
                    self._calls.follow(channel, place, entries=0)
                    for (channel, _), place in zip(batch, asked, strict=True)
                ]
            )
            for (channel, testimony), place, answer in zip(batch, asked, answers, strict=True):
                if testimony.memory.contradicts(Reading.of(place, checked(answer))):
                    await self.fork(channel, testimony.last, testimony.memory)
                    self._testimonies.pop(channel, None)

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
