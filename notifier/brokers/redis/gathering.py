"""Hears who follows channels on other nodes, and asks where something may have been missed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from notifier.attendance import Attendance
from notifier.brokers.redis import attendancetext
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells
from notifier.brokers.redis.living import Living
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.refusals import checked
from notifier.brokers.redis.roundtrips import Call
from notifier.errors import BrokerUnavailable

# After this long each channel is asked for again, in case something was lost without a trace.
REPEAT_SECONDS = 30.0
# Before what could not be asked is asked again.
RETRY_SECONDS = 1.0
# Channels in one round trip.
BATCH = 100

Others = Mapping[str, Attendance]


class Roll:
    """How much of one channel's attendances is known (an
    :class:`~notifier.brokers.redis.doorbell.Ear`).

    :ivar version: up to which the crew was told; ``None``: it is to be asked for.
    :ivar newest: the newest that was rung for while it was asked for.
    :ivar asked: when that was last.
    """

    __slots__ = ("_gathering", "asked", "channel", "newest", "version")

    def __init__(self, channel: str, gathering: Gathering) -> None:
        self._gathering = gathering
        self.channel = channel
        self.version: int | None = None
        self.newest = 0
        self.asked = 0.0

    def hears(self) -> None:
        self._gathering.ask(self)

    def rung(self, bell: bytes, message: bytes) -> None:
        version, node, text = message.split(b" ", 2)
        self._gathering.heard(self, int(version), node.decode(), text)


class Gathering:
    """The channels whose followers elsewhere this node wants to know.

    :param on_gathered: told a channel, and who follows it on the others.
    :param on_attended: told a channel, a node, and who follows it there now.
    """

    def __init__(
        self,
        commands: Commands,
        doorbells: Doorbells,
        names: Names,
        node: str,
        living: Living,
        *,
        on_gathered: Callable[[str, Others], None],
        on_attended: Callable[[str, str, Attendance | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._doorbells = doorbells
        self._names = names
        self._node = node
        self._living = living
        self._on_gathered = on_gathered
        self._on_attended = on_attended
        self._clock = clock
        # The one asked for longest ago first.
        self._rolls: dict[str, Roll] = {}
        self._wanted: dict[str, None] = {}
        self._news = asyncio.Event()

    def gather(self, channel: str) -> None:
        """Tell who follows it, soon and until :meth:`leave`."""
        roll = self._rolls.get(channel)
        if roll is None:
            roll = self._rolls[channel] = Roll(channel, self)
            roll.asked = self._clock()
            # It is asked for when it is heard: what is rung for from then on is not missed.
            self._doorbells.listen(self._names.here(channel), roll)
        else:
            self.ask(roll)

    def leave(self, channel: str) -> None:
        """No more."""
        if self._rolls.pop(channel, None) is not None:
            self._wanted.pop(channel, None)
            self._doorbells.ignore(self._names.here(channel))

    def ask(self, roll: Roll) -> None:
        """Something may have been missed."""
        roll.version = None
        self._wanted[roll.channel] = None
        self._news.set()

    def heard(self, roll: Roll, version: int, node: str, text: bytes) -> None:
        """It was rung for a change."""
        if roll.version is None:
            roll.newest = max(roll.newest, version)
        elif version != roll.version + 1:
            self.ask(roll)
        else:
            roll.version = version
            if node != self._node:
                self._living.heard_of(node)
                self._on_attended(roll.channel, node, attendancetext.decode(node, text))

    async def run(self) -> None:
        """Ask for what is wanted, for as long as this node lives."""
        while True:
            batch = self._take()
            if not batch:
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._news.wait()
                continue
            try:
                await self._ask(batch)
            except BrokerUnavailable:
                for roll in batch:
                    self._wanted[roll.channel] = None
                await asyncio.sleep(RETRY_SECONDS)

    async def attendances(self, channels: Sequence[str]) -> list[Others]:
        """Who follows each on the other nodes.

        :raises BrokerUnavailable:
        """
        found: list[Others] = []
        for start in range(0, len(channels), BATCH):
            some = channels[start : start + BATCH]
            found += [others for _, others in await self._read(some)]
        return found

    def _pause(self) -> float:
        """Seconds until something is to be asked for again."""
        oldest = next(iter(self._rolls.values()), None)
        if oldest is None:
            return REPEAT_SECONDS
        return max(0.0, oldest.asked + REPEAT_SECONDS - self._clock())

    def _take(self) -> list[Roll]:
        """Some that are wanted; else some that were asked for long ago."""
        now = self._clock()
        batch: list[Roll] = []
        while self._wanted and len(batch) < BATCH:
            channel = next(iter(self._wanted))
            del self._wanted[channel]
            if channel in self._rolls:
                batch.append(self._rolls[channel])
        for roll in self._rolls.values():
            if len(batch) >= BATCH or roll.asked + REPEAT_SECONDS > now:
                break
            if roll not in batch:
                batch.append(roll)
        for roll in batch:
            roll.asked = now
            del self._rolls[roll.channel]
            self._rolls[roll.channel] = roll
        return batch

    async def _ask(self, batch: list[Roll]) -> None:
        for roll in batch:
            roll.version = None
            roll.newest = 0
        answers = await self._read([roll.channel for roll in batch])
        for roll, (version, others) in zip(batch, answers, strict=True):
            if self._rolls.get(roll.channel) is not roll:
                continue  # nobody here follows it any more
            if roll.newest > version:
                self.ask(roll)
                continue
            roll.version = version
            for node in others:
                self._living.heard_of(node)
            self._on_gathered(roll.channel, others)

    async def _read(self, channels: Sequence[str]) -> list[tuple[int, Others]]:
        """The version of each, and who follows it on the others that live."""
        if not channels:
            return []
        calls = [Call("HGETALL", args=(self._names.here(channel),)) for channel in channels]
        # The living first: who begins to live in between is heard of by its own.
        living, *answers = map(checked, await self._commands.run([self._living.call, *calls]))
        others = self._living.others(living)
        return [_rolled(answer, others) for answer in answers]


def _rolled(answer: object, living: set[str]) -> tuple[int, Others]:
    fields = _fields(answer)
    version = int(fields.pop(b"v", b"0"))
    found: dict[str, Attendance] = {}
    for key, value in fields.items():
        node = key.decode()
        if node in living:
            attendance = attendancetext.decode(node, value.partition(b" ")[2])
            assert attendance is not None, "nobody is not kept"
            found[node] = attendance
    return version, found


def _fields(answer: object) -> dict[bytes, bytes]:
    """A hash, as redis-py gives it or as it stands on the wire."""
    if isinstance(answer, dict):
        return dict(answer)
    assert isinstance(answer, list)
    return dict(zip(answer[::2], answer[1::2], strict=True))
