"""A broker at the far end of a network: whatever is asked of it takes turns of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from notifier.brokers.base import Receiver
from notifier.channels import Pattern
from notifier.errors import BrokerUnavailable
from notifier.history import ChannelState
from tests.account import RecordingBroker


class FarBroker(RecordingBroker):
    """The recording broker, where each question may take turns, and fail.

    :ivar turns: of the loop that each question takes.
    :ivar follows: how often each pattern is followed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.turns = 0
        self.follows: Counter[str] = Counter()

    @property
    def receivers(self) -> set[str]:
        """The channels that somebody is told of."""
        return set(self._receivers)

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        await self._be_far()
        await super().subscribe(channel, receiver)
        await self._wait()

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        await self._wait()
        await super().unsubscribe(channel, receiver)

    async def follow(self, pattern: Pattern) -> None:
        await self._be_far()
        self.follows[pattern.text] += 1
        await self._wait()

    def unfollow(self, pattern: Pattern) -> None:
        assert self.follows[pattern.text] > 0, "unfollowed more often than followed"
        self.follows[pattern.text] -= 1

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> list[ChannelState]:
        await self._be_far()
        found = await super().channels(pattern, after, limit, unborn=unborn)
        await self._wait()
        return found

    async def _be_far(self) -> None:
        await self._wait()
        if self.down:
            raise BrokerUnavailable("the far end is away")

    async def _wait(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)
