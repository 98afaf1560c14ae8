"""Tasks that somebody owns: none is lost sight of, none dies unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "an errand failed", "exception": error})
