"""How long connections may take with something, without a timer for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class Deadlines(Generic[C]):
    """Connections that all have the same time from when they begin.

    So the one that began first is late first, and one timer does for all of them.

    :param seconds: what each has.
    :param late: told of each that has taken longer; it is forgotten then.
    """

    def __init__(self, seconds: float, late: Callable[[C], None]) -> None:
        self._seconds = seconds
        self._late = late
        # When each began, in that order.
        self._began: dict[C, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._began)

    def begin(self, connection: C) -> None:
        """Its time runs from now on."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._began.pop(connection, None)
        self._began[connection] = now
        if self._timer is None:
            self._timer = loop.call_at(now + self._seconds, self._look)

    def end(self, connection: C) -> None:
        """It was in time, or is gone; it need not have begun."""
        self._began.pop(connection, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._began:
            connection, began = next(iter(self._began.items()))
            if began + self._seconds > loop.time():
                self._timer = loop.call_at(began + self._seconds, self._look)
                return
            del self._began[connection]
            self._late(connection)
