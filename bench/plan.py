"""How long and how large everything is: the full measurement, or the quick look at it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.peers import NAMES

# Those that a quick look at more than fan-out is about.
MAIN = ("notifier", "floor", "nchan")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call measures.

    :ivar rounds: how often each side of a case has its turn; they take turns, A B A B.
    :ivar seconds: how long a turn publishes.
    :ivar size: a factor on numbers of sockets.
    :ivar peers: names of those that are measured.
    :ivar main_peers: of those that are measured in scenarios besides fan-out.
    :ivar pin: the server on the first core, all else on the others: a server has one core.
    """

    rounds: int = 10
    seconds: float = 1.5
    size: float = 1.0
    peers: Sequence[str] = NAMES
    main_peers: Sequence[str] = NAMES
    seed: int = 1
    pin: bool = True
    quick: bool = False
    cores: tuple[int, ...] = field(default_factory=lambda: tuple(sorted(os.sched_getaffinity(0))))

    @property
    def is_full(self) -> bool:
        """Of the size that the targets are about."""
        return self.size >= 1

    def sockets(self, full: int, *, least: int = 50) -> int:
        """So many in the full measurement."""
        return max(least, round(full * self.size))

    @property
    def server_cores(self) -> tuple[int, ...] | None:
        return self.cores[:1] if self.pin and len(self.cores) > 1 else None

    @property
    def other_cores(self) -> tuple[int, ...] | None:
        return self.cores[1:] if self.pin and len(self.cores) > 1 else None


FULL = Plan()
QUICK = Plan(rounds=2, seconds=0.5, size=0.2, main_peers=MAIN, quick=True)
