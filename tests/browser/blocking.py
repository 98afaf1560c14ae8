"""A proxy that lets HTTP through and no WebSocket, as corporate networks have them."""

from __future__ import annotations

import asyncio

from tests.faults import FaultProxy

FORBIDDEN = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 9\r\n"
    b"Connection: close\r\n\r\n<h1>No.\r\n"
)


class BlockingProxy(FaultProxy):
    """Refuses every Upgrade while `blocking`, or swallows it while `swallowing`."""

    blocking = True
    swallowing = False
    upgrades = 0  # asked for so far

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"upgrade: websocket" in head.lower():
            self.upgrades += 1
            if self.swallowing:
                await reader.read()  # until the browser gives up
                return
            if self.blocking:
                writer.write(FORBIDDEN)
                await writer.drain()
                writer.write_eof()
                await reader.read()
                return
        await super()._forward(_Again(head, reader), writer)


class _Again(asyncio.StreamReader):
    """Reads what was read already, then the rest."""

    def __init__(self, first: bytes, rest: asyncio.StreamReader) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    async def read(self, n: int = -1) -> bytes:
        if not self._first:
            return await self._rest.read(n)
        first, self._first = self._first, b""
        return first
