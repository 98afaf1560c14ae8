"""When whose time ends."""

from __future__ import annotations

import heapq


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
            at, name = heapq.heappop(self._heap)
            if self._at.get(name) == at:
                del self._at[name]
                due.append(name)
        return due
