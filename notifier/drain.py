"""Leaving without a storm: every client gets a slot of its own to go in.

If all were cut at once, all would knock at the other nodes at once. Each is told when to leave,
stays and receives until then, and is closed when it has not gone by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from notifier.connections import Connection, Connections
from notifier.errors import Draining

# Clients told before everybody else has a turn.
BREATH = 256
# After its slot a client has this long to go by itself, before it is closed: a slow one needs
# seconds until its next connection is there, and stays here until then.
GRACE_SECONDS = 5.0
# After the last has been closed, for Close frames to be answered.
FAREWELL_SECONDS = 1.0


def slots(count: int, seconds: float) -> list[float]:
    """When each of ``count`` clients leaves: evenly over the time, the first one at once."""
    return [seconds * index / count for index in range(count)]


class Drain:
    """Empties a node.

    :param shuffle: who leaves when is left to chance, so that no client is always the last.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        seconds: float,
        shuffle: Callable[[list[Connection]], None],
    ) -> None:
        self._connections = connections
        self._grace = min(GRACE_SECONDS, seconds / 4)
        self._seconds = max(0.0, seconds - self._grace)
        self._shuffle = shuffle

    async def run(self) -> None:
        """Returns when the last connection has gone, or ``seconds`` are over."""
        connections = list(self._connections.values())
        self._shuffle(connections)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        times = slots(len(connections), self._seconds)
        for count, (connection, slot) in enumerate(zip(connections, times, strict=True), start=1):
            connection.reconnect(round(slot * 1000))
            if count % BREATH == 0:
                await asyncio.sleep(0)
        for connection, slot in zip(connections, times, strict=True):
            if await self._deserted(begin + slot + self._grace - loop.time()):
                return
            if self._connections.get(connection.sink) is connection:
                connection.dismiss()
        await self._deserted(FAREWELL_SECONDS)
        for connection in list(self._connections.values()):
            connection.sink.abort(str(Draining.close_code))

    async def _deserted(self, seconds: float) -> bool:
        """Wait so long for the last connection to go; whether it has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connections.deserted.wait()
        return self._connections.deserted.is_set()


def by_chance(connections: list[Connection]) -> None:
    random.shuffle(connections)
