"""Python's cyclic collector, set up for a process that holds very many objects for long.

A full collection visits all that lives: 30 µs a connection, in which the loop does nothing else. It
finds little, for a WebSocket that has ended is gone without it. ADR 0011 has the figures.
"""

from __future__ import annotations

import gc

# Full collections come this many times rarer than the middle ones: Python's own 10 let 10,000
# handshakes spend a quarter of their CPU time on them. It bounds the garbage that waits: 50 times
# 7,000 objects, which is what some 4,000 event streams leave behind.
FULL_EVERY = 50


def settle() -> None:
    """Call it once, when the process has started: what is there by now will not be visited again,
    and full collections are rare from here on.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_EVERY)
