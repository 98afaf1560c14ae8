"""Tasks that somebody owns: none is lost sight of, none dies unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

# Before a task that has not ended is asked to once more.
INSIST_SECONDS = 0.5


class Errands:
    """Tasks begun on the way, that nobody waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def run(self, errand: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin it. What it raises goes to the loop's exception handler."""
        task = asyncio.create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._landed)
        return task

    async def close(self) -> None:
        """End everything under way."""
        await end(self._tasks)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "an errand failed", "exception": error})


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, and wait until they have ended, however they do.

    ``asyncio.wait_for``, with which redis-py writes, forgets a cancellation that comes at the very
    moment in which it is done (Python 3.11; mended in 3.12). Who waits for it waits for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=INSIST_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, or asyncio complains that nobody has
