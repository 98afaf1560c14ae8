"""When whose time ends."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class Expiries:
    """One moment for each name, in seconds on one clock; the soonest is found first.

    What it holds is never more than twice the names there are, however often they change.
    """

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        # Soonest first; what `_at` says counts.
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, name: object) -> bool:
        return name in self._at

    def at(self, name: str) -> float | None:
        """When it ends; ``None``: it is not known."""
        return self._at.get(name)

    def items(self) -> Iterable[tuple[str, float]]:
        """Names and their moments, in no order."""
        return self._at.items()

    def set(self, name: str, at: float | None) -> None:
        """From now on it ends then; ``None``: never."""
        self._at.pop(name, None)
        if at is not None:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 2 * len(self._at) + 16:
            self._heap = [(at, name) for name, at in self._at.items()]
            heapq.heapify(self._heap)

    def take_due(self, now: float) -> list[str]:
        """Those that have ended, soonest first; they are known no more."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            name = self._pop()
            if name is not None:
                due.append(name)
        return due

    def take_first(self) -> str:
        """The soonest, which is known no more.

        :raises IndexError: there is none.
        """
        while (name := self._pop()) is None:
            pass
        return name

    def _pop(self) -> str | None:
        """``None``: what was there counted no more."""
        at, name = heapq.heappop(self._heap)
        if self._at.get(name) != at:
            return None
        del self._at[name]
        return name
