"""Many things begun in their order, and not one after the other where that would be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# What is done in one go before everybody else has a turn.
TURN_SECONDS = 0.005


class InOrder:
    """Runs steps, each begun after the one before it was.

    A broker that answers at once is asked for one after the other, which costs a third less than
    a task for each; one that answers later, for all at once: what it does with each it can do
    with many (a commit, a round trip), and it keeps their order.
    """

    def __init__(self) -> None:
        # No step has ever had to wait for anything.
        self._prompt = True

    async def __call__(self, steps: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """What each of them gives. The first to fail fails all, when all have come to an end."""
        results: list[T] = []
        loop = asyncio.get_running_loop()
        while self._prompt and len(results) < len(steps):
            waited: list[bool] = []
            note = loop.call_soon(waited.append, True)
            until = loop.time() + TURN_SECONDS
            while not waited and len(results) < len(steps) and loop.time() < until:
                results.append(await steps[len(results)]())
            self._prompt = not waited
            note.cancel()
            if self._prompt and len(results) < len(steps):
                await asyncio.sleep(0)  # everybody else has a turn
        rest = [step() for step in steps[len(results) :]]
        for result in await asyncio.gather(*rest, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            results.append(result)
        return results
