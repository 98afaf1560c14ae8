"""Servers for the tests of the handlers, and HTTP and WebSocket by hand against them.

By hand, because what is tested here is what well-behaved clients never send.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from notifier.config import Settings
from notifier.server import Server
from tests.frames import CLOSE, PING, TEXT, Frame, FrameParser, client_frame

CHECKOUT = Path(__file__).parent.parent.parent
# For localhost, signed by itself, with its key; made for these tests.
CERTIFICATE = CHECKOUT / "tests" / "client" / "localhost.pem"
# A deadlock, not slowness: far above what anything here takes on a slow machine.
PATIENCE = 60.0
# What gives up by itself takes longer: what a test waits for has come about for its own reason.
UNHURRIED: Mapping[str, Any] = dict.fromkeys(
    ("ping_interval", "ping_timeout", "stalled_seconds", "header_timeout", "body_timeout"), 600.0
)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Server]:
    """A server in this process, on a free port, with these settings."""
    server = Server(Settings(**{"port": 0, **UNHURRIED, **settings}))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the other end of a connection brings about."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as it was on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        """The number of the error in it."""
        return int(self.json["error"]["code"])


class Wire:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def give(self, data: bytes) -> None:
        """Send, without waiting."""
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def flood(self, data: bytes, times: int) -> int:
        """Send it over and over, whatever the server thinks; how often it was possible."""
        for done in range(times):
            try:
                await self.send(data)
            except OSError:
                return done
        return times

    async def answer(self, method: str = "GET") -> Answer:
        """Read one HTTP answer."""
        answer = await self.answer_head()
        return answer if method == "HEAD" else await self.answer_body(answer)

    async def answer_head(self) -> Answer:
        """Read an HTTP answer up to its body."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            status = int(first.split(" ")[1])
            headers: dict[str, str] = {}
            for line in lines:
                name, _, value = line.partition(":")
                # One that comes twice is a list (RFC 9110 §5.3).
                before = headers.get(name := name.strip().lower())
                headers[name] = value.strip() if before is None else f"{before}, {value.strip()}"
            return Answer(status, headers, b"")

    async def answer_body(self, answer: Answer) -> Answer:
        """The answer with its body, which is still to be read."""
        async with asyncio.timeout(PATIENCE):
            if answer.status in (101, 204, 304):
                return answer
            if answer.headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            else:
                size = int(answer.headers.get("content-length", "0"))
                body = await self.reader.readexactly(size)
            return replace(answer, body=body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def ended(self) -> bytes:
        """What comes until the server closes; a reset raises."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    def half_close(self) -> None:
        """Send a FIN: nothing more will come from us."""
        self._writer.write_eof()

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for its options."""
        found = self._writer.get_extra_info("socket")
        assert found is not None
        return found._sock  # type: ignore[no-any-return]  # asyncio's own keeps setsockopt away

    def reset(self) -> None:
        """Vanish: the server gets a RST."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


async def open_stream(
    port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect.

    :param receive_buffer: bytes that the kernel takes while nobody reads; about twice as many
        more wait in the reader.
    :param tls: whom to trust, where the server speaks it.
    """
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except OSError:
        connection.close()
        raise
    limit = 1 << 16 if receive_buffer is None else receive_buffer
    if tls is None:
        return await asyncio.open_connection(sock=connection, limit=limit)
    reader, writer = await asyncio.open_connection(
        sock=connection, limit=limit, ssl=tls, server_hostname="localhost"
    )
    # Else another 256 KiB would wait in asyncio's TLS.
    writer.transport.set_read_buffer_limits(limit)  # type: ignore[attr-defined]
    return reader, writer


@asynccontextmanager
async def wire_to(
    port: int, tls: ssl.SSLContext | None = None, *, receive_buffer: int | None = None
) -> AsyncIterator[Wire]:
    reader, writer = await open_stream(port, tls=tls, receive_buffer=receive_buffer)
    wire = Wire(reader, writer)
    try:
        yield wire
    finally:
        wire.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def choked(server: Server) -> AsyncIterator[Wire]:
    """Its one connection, which is full at the server's end: whatever is answered has to wait."""
    async with wire_to(server.port, receive_buffer=2048) as wire:
        await until(lambda: len(server._http._connections) == 1)
        (connection,) = server._http._connections
        full = 0
        while full < 3:
            try:
                connection.stream.socket.send(b"." * 65536)
                full = 0
            except BlockingIOError:
                full += 1
            await asyncio.sleep(0.01)
        yield wire


def head(
    method: str, path: str, headers: Mapping[str, str] | None = None, *, host: str = "localhost"
) -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1"]
    if "Host" not in (headers or {}):
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def request(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own; nothing is added but Host and Content-Length."""
    all_headers = dict(headers or {})
    if body is not None and "Transfer-Encoding" not in all_headers:
        all_headers.setdefault("Content-Length", str(len(body)))
    async with wire_to(port, tls) as wire:
        await wire.send(head(method, path, all_headers) + (body or b""))
        return await wire.answer(method)


async def stored_in(port: int, channel: str) -> list[dict[str, Any]]:
    """What the channel's history has; nothing where there is no such channel."""
    answer = await request(port, "GET", f"/channels/{channel}/history")
    if answer.status == 404:
        assert answer.code == 40402
        return []
    publications: list[dict[str, Any]] = answer.json["publications"]
    return publications


# --- WebSocket by hand ---

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class RawSocket(Wire):
    """A WebSocket client that may break every rule, of a server that may break none."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.parser = FrameParser()
        self._frames: deque[Frame] = deque()

    async def upgrade(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        await self.send(head("GET", path, {**HANDSHAKE, **(headers or {})}))
        answer = await self.answer()
        self.parser.inflates = "sec-websocket-extensions" in answer.headers
        return answer

    async def frame(self) -> Frame:
        """The next frame. Raises IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE):
            while not self._frames:
                if not await self.read():
                    raise asyncio.IncompleteReadError(b"", None)
            return self._frames.popleft()

    async def read(self, size: int = 1 << 18) -> int:
        """Take at most so many bytes; how many there were, none at the end."""
        data = await self.reader.read(size)
        self._frames.extend(self.parser.feed(data))
        return len(data)

    async def message(self) -> Any:
        """The next JSON message; pings are passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT:
                return json.loads(payload)
            assert opcode == PING, (opcode, payload)

    async def say(self, message: object) -> None:
        await self.send(client_frame(json.dumps(message).encode()))

    async def ask(self, message: dict[str, Any]) -> Any:
        """Send, and read the next message."""
        await self.say(message)
        return await self.message()

    async def closed(self, *, answer: bool = False) -> tuple[int, str]:
        """Read up to the Close frame, then the end of the stream; the code and the reason.

        :param answer: say Close ourselves, which the server waits for when it closes in good order.
        """
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                break
        if answer:
            await self.send(client_frame(payload[:2], CLOSE))
        assert await self.ended() == b"", "something came after Close"
        return int.from_bytes(payload[:2]), payload[2:].decode()


@asynccontextmanager
async def raw_socket(
    port: int, path: str = "/ws", headers: Mapping[str, str] | None = None
) -> AsyncIterator[RawSocket]:
    """A WebSocket whose handshake has succeeded, and (at ``/ws``) whose welcome has been read."""
    reader, writer = await open_stream(port)
    raw = RawSocket(reader, writer)
    try:
        answer = await raw.upgrade(path, headers)
        assert answer.status == 101, answer
        if path.startswith("/ws"):
            assert (await raw.message())["type"] == "welcome"
        yield raw
    finally:
        raw.close()
        with suppress(OSError):
            await writer.wait_closed()


def faults(log: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What went wrong in the server, as far as it has told."""
    return [record for record in log.records if record.levelno >= logging.ERROR or record.exc_info]


def refused(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
