"""Closing so that the peer sees the last thing we said.

A socket closed with unread input sends a reset, and a reset throws away what the peer has not
read yet: the very answer that tells it why. So: half-close, read the rest away for a while, close.
"""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream, StreamClosedError

from handlers.stream import let_go

LINGER_SECONDS = 3.0
LINGER_BYTES = 64 * 1024 * 1024


async def linger(stream: IOStream) -> None:
    """Close the stream when the peer has, or has had its time; what it still sends is dropped."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            # An empty write is done when everything before it is.
            await stream.write(b"")
            stream.socket.shutdown(socket.SHUT_WR)
            dropped = 0
            while dropped < LINGER_BYTES:
                dropped += len(await stream.read_bytes(65536, partial=True))
    except (TimeoutError, StreamClosedError, OSError):
        pass
    finally:
        stream.close()
        let_go(stream)
