"""What a server process was told: to leave in good order, or at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Orders:
    """Set by whoever may give them, waited for by the server.

    :ivar asked: to drain, then stop.
    :ivar insisted: to stop at once.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def drain(self) -> None:
        self.asked.set()

    def insist(self) -> None:
        self.asked.set()
        self.insisted.set()


@contextlib.contextmanager
def by_signals(orders: Orders) -> Iterator[None]:
    """SIGTERM and SIGINT ask; a second one insists."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if orders.asked.is_set():
            orders.insist()
        orders.drain()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
