"""``server.py PORT``: ``websockets.broadcast`` of what is posted to everybody.

``websockets`` serves no POST. So a connection that begins with one never becomes a WebSocket, and
is answered here, at no more cost than a parser of a few lines has.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve

try:
    # What its documentation recommends for speed.
    from uvloop import run
except ModuleNotFoundError:
    from asyncio import run

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection(ServerConnection):
    """A subscriber, or a publisher."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._posted: bytearray | None = None

    def data_received(self, data: bytes) -> None:
        if self._posted is None:
            if not data.startswith(b"POST "):
                super().data_received(data)
                return
            self._posted = bytearray()
        self._posted += data
        while (head := self._posted.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._posted, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._posted) < end:
                break
            # Text once: a frame of text is made of it, once as well.
            broadcast(self.server.connections, self._posted[head + 4 : end].decode())
            del self._posted[:end]
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def stay(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def main() -> None:
    silent = logging.getLogger("silent")
    silent.disabled = True
    async with serve(
        stay,
        "127.0.0.1",
        int(sys.argv[1]),
        create_connection=Connection,
        # "Disable compression" and keep-alive: its documentation's advice for memory and CPU.
        compression=None,
        ping_interval=None,
        # A publisher's handshake never comes.
        open_timeout=None,
        logger=silent,
        backlog=4096,
    ):
        await asyncio.Event().wait()


run(main())
