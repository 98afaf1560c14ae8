"""Python's cyclic collector, set up for a process that holds very many objects for long.

A full collection visits all that lives: 30 µs a connection, in which the loop does nothing else. It
finds little, for what has ended is gone without it. ADR 0011 has the figures.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from pathlib import Path

# Full collections come this many times rarer than the middle ones: Python's own 10 let 10,000
# handshakes spend a quarter of their CPU time on them.
FULL_EVERY = 50

# The memory a process may grow by before it looks whether that is garbage: so much, and so much of
# what it had. Objects are what Python counts; a few of them can hold very many bytes.
GROWTH_BYTES = 64 * 2**20
GROWTH = 0.25
# Memory that comes and goes is no reason to stand still for more of the time than this.
MOST_OF_THE_TIME = 0.05


def settle() -> None:
    """Call it once, when the process has started: what is there by now will not be visited again,
    and full collections are rare from here on.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_EVERY)


class Growth:
    """Has a full collection done when memory has grown by much, whatever the number of objects.

    A process that goes on growing has one each time it is larger by a quarter: ever rarer.

    :param resident: bytes the process has in memory.
    :param clock: seconds, from any moment on.
    """

    def __init__(self, resident: Callable[[], int], clock: Callable[[], float]) -> None:
        self._resident = resident
        self._clock = clock
        self._before = resident()
        self._not_before = clock()

    def look(self) -> bool:
        """Call it every now and then. Whether there was a collection."""
        now = self._resident()
        # What was given back since may be taken again.
        self._before = min(self._before, now)
        if now - self._before < max(GROWTH_BYTES, GROWTH * self._before):
            return False
        began = self._clock()
        if began < self._not_before:
            return False
        gc.collect()
        ended = self._clock()
        self._not_before = ended + (ended - began) / MOST_OF_THE_TIME
        self._before = self._resident()
        return True


def resident_bytes() -> int:
    """What this process has in memory; 0 where the system does not say (proc(5))."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
