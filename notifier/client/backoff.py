"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Full jitter: anywhere between nothing and a limit that doubles, so that a crowd spreads.

    :param first: the first limit, in seconds.
    :param longest: the limit at which it stops doubling.
    :ivar tries: since :meth:`reset`.
    """

    first: float
    longest: float
    tries: int = 0

    def next(self, at_least: float = 0.0) -> float:
        """Seconds to wait; ``at_least`` is what the server asked for."""
        limit: float = min(self.longest, self.first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return min(at_least, self.longest) + random.random() * limit

    def reset(self) -> None:
        self.tries = 0
