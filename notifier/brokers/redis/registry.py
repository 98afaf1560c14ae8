"""Every channel that was ever published to, by name."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from notifier.brokers.base import too_many_channels
from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.refusals import checked
from notifier.brokers.redis.roundtrips import Call
from notifier.channels import Pattern
from notifier.history import ChannelState
from notifier.notification import Position

# Channels known to be in it that are remembered, the longest unused forgotten first.
REMEMBERED = 100_000
# Names compared with a pattern, and channels looked at, in one round trip.
SCAN_NAMES = 1000
STATES = 100


class Registry:
    """A sorted set in Redis.

    A channel is entered before its first publication is stored: none can be there that is not
    listed. What is entered and has nothing is passed over, and in time removed.
    """

    def __init__(
        self, commands: Commands, names: Names, calls: Calls, *, max_channels: int
    ) -> None:
        self._commands = commands
        self._names = names
        self._calls = calls
        self._max_channels = max_channels
        self._epochs: OrderedDict[str, str] = OrderedDict()
        # Where the search for those that are gone has come to.
        self._swept = ""

    def epoch(self, channel: str) -> str | None:
        """Under which the channel is known to have been entered."""
        return self._epochs.get(channel)

    async def enter(self, channel: str, epoch: str) -> None:
        """It is about to be published to.

        :raises TooManyChannels:
        :raises BrokerUnavailable:
        """
        if not await self._commands.one(self._calls.register(channel, epoch)):
            raise too_many_channels(self._max_channels)
        self._epochs[channel] = epoch
        self._epochs.move_to_end(channel)
        if len(self._epochs) > REMEMBERED:
            self._epochs.popitem(last=False)

    async def state(self, channel: str) -> ChannelState | None:
        """:raises BrokerUnavailable:"""
        (state,) = await self._states([channel])
        return state if state is not None and state.head.offset else None

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool
    ) -> list[ChannelState]:
        """:raises BrokerUnavailable:"""
        found: list[ChannelState] = []
        while len(found) < limit:
            names = await self._after(pattern, after)
            wanted = list(filter(pattern.matches, names))
            while wanted and len(found) < limit:
                batch, wanted = wanted[:STATES], wanted[STATES:]
                found += [
                    state
                    for state in await self._states(batch)
                    if state is not None and (unborn or state.head.offset)
                ]
                await asyncio.sleep(0)
            if len(names) < SCAN_NAMES:
                break
            after = names[-1]
        return found[:limit]

    async def sweep(self) -> None:
        """Look at some channels: trim them, and let go of those whose log is gone.

        :raises BrokerUnavailable:
        """
        names = await self._range(f"({self._swept}" if self._swept else "-", "+", STATES)
        self._swept = names[-1] if len(names) == STATES else ""
        gone = await self._without_log(names)
        if not gone:
            return
        await self._commands.one(Call("ZREM", (), (self._names.channels, *gone)))
        # A log that was made since was entered before that, in vain.
        back = set(gone).difference(await self._without_log(gone))
        for name in back:
            await self._commands.one(Call("ZADD", (), (self._names.channels, 0, name)))
        for name in set(gone) - back:
            self._epochs.pop(name, None)

    async def _without_log(self, names: list[str]) -> list[str]:
        answers = await self._commands.run([self._calls.state(name) for name in names])
        return [
            name for name, answer in zip(names, map(checked, answers), strict=True) if answer == 0
        ]

    async def _after(self, pattern: Pattern, after: str) -> list[str]:
        """The next names that may match."""
        start, stop = bounds(pattern, after)
        return await self._range(start, stop, SCAN_NAMES)

    async def _range(self, start: str, stop: str | bytes, count: int) -> list[str]:
        words = (self._names.channels, start, stop, "LIMIT", 0, count)
        return [name.decode() for name in await self._commands.one(Call("ZRANGEBYLEX", (), words))]

    async def _states(self, channels: list[str]) -> list[ChannelState | None]:
        """``None``: it has no log. One that has and no publications yet has an offset of 0."""
        answers = await self._commands.run([self._calls.state(channel) for channel in channels])
        states: list[ChannelState | None] = []
        for channel, answer in zip(channels, map(checked, answers), strict=True):
            if answer == 0:
                states.append(None)
                continue
            epoch, head, count, size, time_ms = answer
            states.append(
                ChannelState(
                    channel,
                    Position(epoch.decode(), int(head)),
                    int(count),
                    int(size),
                    int(time_ms) if time_ms else None,
                )
            )
        return states


def bounds(pattern: Pattern, after: str) -> tuple[str, bytes]:
    """Between which names of a sorted set those lie that may match and come after one."""
    prefix = pattern.prefix
    start = f"({after}" if after and after >= prefix else f"[{prefix}" if prefix else "-"
    # No name holds a byte as high as this.
    return start, b"(" + prefix.encode() + b"\xff" if prefix else b"+"
