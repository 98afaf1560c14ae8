"""https and wss: a relay with a certificate of its own stands before the server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import notifier.client
from notifier.client import BadAnswer
from notifier.server import Server

# For localhost, signed by itself, with its key; made for these tests.
CERTIFICATE = Path(__file__).parent / "localhost.pem"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def port(server: Server) -> AsyncIterator[int]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    relaying = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    yield relaying.sockets[0].getsockname()[1]
    relaying.close()


@pytest.mark.parametrize("url", ["https://localhost:{}", "wss://localhost:{}/ws"])
async def test_trusted_server_is_spoken_to(port: int, url: str) -> None:
    trust = ssl.create_default_context(cafile=CERTIFICATE)
    async with notifier.client.connect(url.format(port), tls=trust) as client:
        receipt = await client.publish("alerts", "m")
        n = await anext(client.subscribe("alerts", since="all"))
        assert isinstance(n, notifier.client.Notification)
        assert n.position == receipt.position


async def test_server_that_is_not_trusted_is_not_asked_again(port: int) -> None:
    async with notifier.client.connect(f"https://localhost:{port}") as client:
        with pytest.raises(BadAnswer, match="is not to be trusted: self-signed"):
            await client.publish("alerts", "m")
        with pytest.raises(BadAnswer, match="is not to be trusted: self-signed"):
            await anext(client.subscribe("alerts"))
