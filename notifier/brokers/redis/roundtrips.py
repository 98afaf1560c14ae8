"""A call of Redis, and the round trips to one shard that calls share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from notifier.brokers.redis.scripts import Script
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.value import value

# Calls that share a round trip, and such round trips to one shard at a time.
BATCH = 64
ROUND_TRIPS = 8


@value
class Call:
    """A script with its keys and arguments, or a command with its words."""

    what: Script | str
    keys: tuple[str, ...] = ()
    args: tuple[str | bytes | int, ...] = ()

    @property
    def name(self) -> str:
        """The key or doorbell that decides whose it is."""
        return self.keys[0] if self.keys else str(self.args[0])


class RoundTrips:
    """Calls to one shard that share round trips.

    :param carry_out: makes one round trip.
    :param timeout: seconds that calls wait for their turn.
    """

    def __init__(
        self,
        carry_out: Callable[[list[Call]], Awaitable[list[Any]]],
        errands: Errands,
        timeout: float,
    ) -> None:
        self._carry_out = carry_out
        self._errands = errands
        self._timeout = timeout
        self._waiting: deque[tuple[list[Call], asyncio.Future[list[Any]], float]] = deque()
        self._travelling = 0
        # One is about to begin, and takes what comes in this turn of the loop.
        self._beginning = False

    async def ask(self, calls: list[Call]) -> list[Any]:
        """:raises BrokerUnavailable:"""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting.append((calls, answer, loop.time() + self._timeout))
        self._go_on()
        return await answer

    def close(self) -> None:
        while self._waiting:
            _refuse(self._waiting.popleft()[1], BrokerUnavailable("This node is closing."))

    def _go_on(self) -> None:
        if self._waiting and not self._beginning and self._travelling < ROUND_TRIPS:
            self._beginning = True
            self._travelling += 1
            self._errands.run(self._travel())

    async def _travel(self) -> None:
        self._beginning = False
        try:
            while batch := self._next_batch():
                self._go_on()
                await self._round_trip(batch)
        finally:
            self._travelling -= 1

    def _next_batch(self) -> list[tuple[list[Call], asyncio.Future[list[Any]]]]:
        now = asyncio.get_running_loop().time()
        batch: list[tuple[list[Call], asyncio.Future[list[Any]]]] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0][0]) <= BATCH):
            calls, answer, latest = self._waiting.popleft()
            if answer.done():
                continue  # whoever asked has gone
            if now > latest:
                _refuse(answer, BrokerUnavailable("Redis is slower than what is asked of it."))
                continue
            batch.append((calls, answer))
            size += len(calls)
        return batch

    async def _round_trip(self, batch: list[tuple[list[Call], asyncio.Future[list[Any]]]]) -> None:
        try:
            results = await self._carry_out([call for calls, _ in batch for call in calls])
        except BrokerUnavailable as error:
            for _, answer in batch:
                _refuse(answer, BrokerUnavailable(error.message))
        except Exception as fault:  # noqa: BLE001 (whoever asked is told)
            for _, answer in batch:
                _refuse(answer, fault)
        else:
            start = 0
            for calls, answer in batch:
                if not answer.done():
                    answer.set_result(results[start : start + len(calls)])
                start += len(calls)
        finally:
            for _, answer in batch:
                _refuse(answer, BrokerUnavailable("This node is closing."))


def _refuse(answer: asyncio.Future[list[Any]], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
