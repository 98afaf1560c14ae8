"""Says who follows which channel on this node: once a moment, and again in case it was lost."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable

from notifier.attendance import Attendance
from notifier.brokers.redis import attendancetext
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.refusals import checked
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import ATTEND
from notifier.channels import Namespaces
from notifier.errors import BrokerUnavailable

# Between two things said of one channel: while its members are named, and when they are counted.
NAMED_SECONDS = 0.25
COUNTED_SECONDS = 1.0
# After this long it is said again, and after this long what was not is forgotten.
REPEAT_SECONDS = 30.0
FORGOTTEN_SECONDS = 3 * REPEAT_SECONDS
# Before what could not be said is tried again.
RETRY_SECONDS = 1.0
# Channels in one round trip; and that become due before everybody else has a turn.
BATCH = 100
BREATH = 1000


class Attending:
    """What this node has to say of channels, and what it has said.

    :param attendance: asked who follows a channel, when it is said.
    :param on_left: told of a channel that nobody here follows any more.
    """

    def __init__(
        self,
        commands: Commands,
        names: Names,
        namespaces: Namespaces,
        node: str,
        *,
        attendance: Callable[[str], Attendance | None],
        on_left: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._names = names
        self._namespaces = namespaces
        self._node = node
        self._attendance = attendance
        self._on_left = on_left
        self._clock = clock
        # When each channel that others have been told of may be told of next, and was last, the
        # longest ago first.
        self._said: dict[str, tuple[float, float]] = {}
        # When each is to be said; of several times for one channel the earliest counts.
        self._due: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []
        self._news = asyncio.Event()
        # To be rung for, though it may be no news to Redis.
        self._forced: set[str] = set()

    def changed(self, channel: str) -> None:
        """Others follow the channel than before."""
        if channel not in self._due:
            next_turn, _ = self._said.get(channel, (0.0, 0.0))
            self._say_at(channel, max(self._clock(), next_turn))

    async def say_all(self) -> None:
        """Say everything anew: it may be news to everybody."""
        now = self._clock()
        for count, channel in enumerate(list(self._said), start=1):
            self._forced.add(channel)
            self._say_at(channel, now)
            if count % BREATH == 0:
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Say what is due, for as long as this node lives."""
        while True:
            batch = self._take()
            if batch:
                await self._say(batch)
            else:
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._news.wait()

    def _say_at(self, channel: str, at: float) -> None:
        if at < self._due.get(channel, float("inf")):
            self._due[channel] = at
            heapq.heappush(self._queue, (at, channel))
            self._news.set()

    def _pause(self) -> float:
        """Seconds until something is due."""
        times = [REPEAT_SECONDS]
        if self._queue:
            times.append(self._queue[0][0] - self._clock())
        if self._said:
            _, oldest = next(iter(self._said.values()))
            times.append(oldest + REPEAT_SECONDS - self._clock())
        return max(0.0, min(times))

    def _take(self) -> list[str]:
        """Some channels that are due; else some that are to be repeated."""
        now = self._clock()
        batch: list[str] = []
        while self._queue and self._queue[0][0] <= now and len(batch) < BATCH:
            at, channel = heapq.heappop(self._queue)
            if self._due.get(channel) == at:
                del self._due[channel]
                batch.append(channel)
        for channel, (_, last) in self._said.items():
            if last + REPEAT_SECONDS > now or len(batch) >= BATCH:
                break
            if channel not in self._due and channel not in batch:
                batch.append(channel)
        return batch

    async def _say(self, batch: list[str]) -> None:
        now = self._clock()
        said: list[tuple[str, Attendance | None]] = []
        calls: list[Call] = []
        for channel in batch:
            attendance = self._attendance(channel)
            if attendance is None:
                self._on_left(channel)
                if channel not in self._said:
                    continue  # who came has left again, and nobody ever knew
            named = attendance is not None and attendance.members is not None
            # Also if it fails, for it may have been done: who leaves then is to be told of.
            self._said.pop(channel, None)
            self._said[channel] = (now + (NAMED_SECONDS if named else COUNTED_SECONDS), now)
            said.append((channel, attendance))
            calls += self._calls(channel, attendance)
        if not said:
            return
        calls.append(self._keep_followed())
        try:
            results = await self._commands.run(calls)
        except BrokerUnavailable as error:
            results = [error] * len(calls)
        for (channel, attendance), *outcome in zip(
            said, results[:-1:2], results[1:-1:2], strict=True
        ):
            try:
                for result in outcome:
                    checked(result)
            except BrokerUnavailable:
                self._forced.add(channel)
                self._say_at(channel, self._clock() + RETRY_SECONDS)
            else:
                if attendance is None:
                    del self._said[channel]

    def _calls(self, channel: str, attendance: Attendance | None) -> tuple[Call, Call]:
        heard = self._namespaces.of(channel).presence
        verb = self._commands.publish if heard else ""
        forced = int(channel in self._forced)
        self._forced.discard(channel)
        text = attendancetext.encode(attendance)
        milliseconds = round(FORGOTTEN_SECONDS * 1000)
        args = (self._node, text, verb, forced, milliseconds)
        followed = self._names.followed(self._node)
        return (
            Call(ATTEND, (self._names.here(channel),), args),
            Call("ZREM", args=(followed, channel))
            if attendance is None
            else Call("ZADD", args=(followed, 0, channel)),
        )

    def _keep_followed(self) -> Call:
        """What this node follows is forgotten with it."""
        milliseconds = round(FORGOTTEN_SECONDS * 1000)
        return Call("PEXPIRE", args=(self._names.followed(self._node), milliseconds))
