"""Where small things are kept for a moment, each to be taken once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

# Things that one node keeps.
MAX_KEPT = 10_000


class Shelf(Protocol):
    """Keeps what is put on it for whoever asks first, on this node or, where there are several
    nodes, on any.
    """

    async def put(self, name: str, thing: bytes, seconds: float) -> None:
        """Keep it for so long.

        :param name: one that nobody has used and nobody can guess.
        :raises BrokerUnavailable: it is not known whether it is kept.
        """

    async def take(self, name: str) -> bytes | None:
        """What was put there, for the first who asks while it is kept; else ``None``.

        :raises BrokerUnavailable: it may be gone by now.
        """

    async def look(self, name: str) -> bytes | None:
        """What is there to be taken, and stays so; else ``None``.

        :raises BrokerUnavailable:
        """


class MemoryShelf:
    """Of a node that has no others.

    :param clock: seconds, monotonic.
    :param limit: things that are kept; of more, the oldest are dropped.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, limit: int = MAX_KEPT
    ) -> None:
        self._clock = clock
        self._limit = limit
        # The oldest come first.
        self._kept: dict[str, tuple[float, bytes]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def put(self, name: str, thing: bytes, seconds: float) -> None:
        now = self._clock()
        self._drop_ended(now)
        while len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = now + seconds, thing

    async def take(self, name: str) -> bytes | None:
        until, thing = self._kept.pop(name, (0.0, b""))
        return thing if self._clock() < until else None

    async def look(self, name: str) -> bytes | None:
        until, thing = self._kept.get(name, (0.0, b""))
        return thing if self._clock() < until else None

    def _drop_ended(self, now: float) -> None:
        """Those at the front: most live equally long, and the limit bounds the others."""
        while self._kept and self._kept[next(iter(self._kept))][0] <= now:
            del self._kept[next(iter(self._kept))]
