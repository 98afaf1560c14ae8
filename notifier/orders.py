"""What a server process was told: to leave in good order, or at once, or to
read again what it was given as files."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Orders:
    """Set by whoever may give them, waited for by the server.

    :ivar asked: to drain, then stop.
    :param reload: reads again what may be replaced while it runs.
    :ivar insisted: to stop at once.
    """

    def __init__(self, reload: Callable[[], None] = lambda: None) -> None:
        self.reload = reload
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def drain(self) -> None:
        self.asked.set()

    def insist(self) -> None:
        self.asked.set()
        self.insisted.set()


@contextlib.contextmanager
def by_signals(orders: Orders) -> Iterator[None]:
    """SIGTERM and SIGINT ask; a second one insists. SIGHUP has files read again."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if orders.asked.is_set():
            orders.insist()
        orders.drain()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, orders.reload)
    try:
        yield
    finally:
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
