"""Channels that come to life: a stream, and a doorbell that rings when it grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.roundtrips import Call
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable

PAGE = 1000
# Before reading is tried again where Redis did not answer.
RETRY_SECONDS = 0.5


class Births:
    """Follows the stream (a :class:`~notifier.brokers.redis.doorbell.Ear`).

    :param on_birth: told the channel and the epoch.
    """

    def __init__(
        self,
        commands: Commands,
        stream: str,
        errands: Errands,
        on_birth: Callable[[str, str], None],
    ) -> None:
        self._commands = commands
        self._stream = stream
        self._errands = errands
        self._on_birth = on_birth
        # The last that was told; what was there at the beginning is no news.
        self._last: str | None = None
        self._again = False
        self._reading = False
        # Set when it is known what is news: everything from then on is told.
        self._begun = asyncio.Event()

    async def begin(self, seconds: float) -> None:
        """From now on births are told. Who lists the channels that there are does it after this.

        :raises BrokerUnavailable: not in that time.
        """
        if not self._begun.is_set():
            self.look()
            try:
                async with asyncio.timeout(seconds):
                    await self._begun.wait()
            except TimeoutError:
                raise BrokerUnavailable("Redis does not show new channels just now.") from None

    def hears(self) -> None:
        self.look()

    def rung(self, bell: bytes, message: bytes) -> None:
        self.look()

    def look(self) -> None:
        """There may be some that were not told."""
        self._again = True
        if not self._reading:
            self._reading = True
            self._errands.run(self._read_all())

    async def _read_all(self) -> None:
        try:
            while self._again:
                self._again = False
                try:
                    await self._read()
                except BrokerUnavailable:
                    self._again = True
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._reading = False

    async def _read(self) -> None:
        if self._last is None:
            newest = await self._range("XREVRANGE", "+", "-", 1)
            self._last = newest[0][0].decode() if newest else "0-0"
            self._begun.set()
            return
        while True:
            page = await self._range("XRANGE", f"({self._last}", "+", PAGE)
            for id, fields in page:
                self._last = id.decode()
                self._on_birth(fields[b"c"].decode(), fields[b"e"].decode())
            if len(page) < PAGE:
                return

    async def _range(self, command: str, start: str, stop: str, count: int) -> list[Any]:
        call = Call(command, (), (self._stream, start, stop, "COUNT", count))
        return list(await self._commands.one(call))
