"""The HTTP requests that are being answered, which a node that leaves waits for."""

from __future__ import annotations

import asyncio


class Requests:
    """How many they are.

    :ivar quiet: set while there are none.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self.quiet = asyncio.Event()
        self.quiet.set()

    def began(self) -> None:
        self._under_way += 1
        self.quiet.clear()

    def ended(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self.quiet.set()
