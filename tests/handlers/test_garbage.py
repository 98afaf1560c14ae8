"""A WebSocket that has ended is let go of at once, not when the cyclic collector comes by.

With many connections a full collection holds the loop for tens of milliseconds and more: the less
there is for it to find, the rarer it is.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from notifier.server import Server
from tests.frames import CLOSE, TEXT, client_frame
from tests.handlers.serving import raw_socket, until


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What refers to itself stays for ever."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _parts(server: Server) -> list[weakref.ref[Any]]:
    """What there is of the one connection and of the channels it follows."""
    (connection,) = server.node.connections.values()
    feeds = server.node._hub.feeds.values()
    return [weakref.ref(part) for part in (connection, connection.ws_connection, *feeds)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("path", ["/ws?channel=a", "/raw/a", "/echo"])
async def test_connection_that_ended_is_gone(
    server: Server, no_collector: None, path: str, ending: str
) -> None:
    async with raw_socket(server.port, path) as client:
        if path.startswith("/ws"):
            assert (await client.message())["type"] == "subscribed"
            await client.ask({"type": "ping"})
        elif path == "/echo":
            await client.send(client_frame(b"hello", TEXT))
            await client.frame()
        await until(lambda: len(server.node.connections) == 1)
        parts = _parts(server)
        if ending == "close":
            await client.send(client_frame(b"\x03\xe8", CLOSE))
            await client.closed()
        else:
            client.reset()
        await until(lambda: not server.node.connections)
    await until(lambda: not any(part() for part in parts))
