"""What a request or connection held is free when it has ended, without the cyclic collector.

A full collection is rare (ADR 0011): until it came, whoever sent most of a body and hung up, over
and over, would have the server hold all of it.
"""

from __future__ import annotations

import gc
import json
import random
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import RequestHandler

from notifier.server import Server
from tests.frames import client_frame
from tests.handlers.serving import (
    CERTIFICATE,
    HANDSHAKE,
    RawSocket,
    head,
    open_stream,
    request,
    serving,
    until,
)

MUCH = 300_000
DATA = b"a" * MUCH
# Of which the last tenth never comes.
LENGTH = {"Content-Length": str(MUCH * 10 // 9)}
CHUNKED = {"Transfer-Encoding": "chunked"}
CHUNK = b"%x\r\n" % (MUCH + 1) + DATA
LINES = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
NOISE = random.Random(1).randbytes(MUCH)
ELSEWHERE = json.dumps({"channel": "b", "message": "a" * MUCH}).encode()

# Requests whose body breaks off.
CUT = {
    "collected": head("POST", "/notify/a", {"Content-Length": "60000"}) + DATA[:50_000],
    "streamed": head("POST", "/notify/a", LENGTH) + DATA,
    "chunked": head("POST", "/notify/a", CHUNKED) + CHUNK,
    "small chunk": head("POST", "/notify/a", CHUNKED) + CHUNK[:20_000],
    "bad chunk": head("POST", "/notify/a", CHUNKED) + b"3e8\r\n" + DATA[:1000] + b"zz",
    "gzip": head("POST", "/notify/a", {**LENGTH, "Content-Encoding": "gzip"}) + DATA,
    "multipart": head(
        "POST", "/notify/a", {**LENGTH, "Content-Type": "multipart/form-data; boundary=x"}
    )
    + DATA,
    "one line": head("POST", "/notify/a", {**LENGTH, **LINES}) + DATA,
    "lines": head("POST", "/notify/a", {**LENGTH, **LINES}) + b'{"message":"x"}\n' * 50 + DATA,
    "bad lines": head("POST", "/notify/a", {**LENGTH, **LINES}) + ELSEWHERE + b"\n[]\n{",
    "lines, answered": head("POST", "/notify/a?answers=all", {**LENGTH, **LINES})
    + b'{"message":"x"}\n' * 50,
    "lines, packed": head("POST", "/notify/a", {**LENGTH, **LINES, "Content-Encoding": "gzip"})
    + zlib.compress(NOISE, wbits=31),
    "of another resource": head("POST", "/revocations", LENGTH) + DATA,
    "of no resource": head("POST", "/nowhere/at/all", LENGTH) + DATA,
    "of no use": head("GET", "/health/live", LENGTH) + DATA,
    "of no method": head("DELETE", "/notify/a", LENGTH) + DATA,
    "of a file": head("GET", "/static/app.js", LENGTH) + DATA,
    "of a handshake": head("GET", "/ws", {**HANDSHAKE, **LENGTH}) + DATA,
    "too long": head("POST", "/notify/a", {"Content-Length": "100000000"}) + DATA,
    "from elsewhere": head("POST", "/notify/a", {**LENGTH, "Origin": "http://evil.example"}) + DATA,
    "after another": head("POST", "/notify/a", {"Content-Length": "2"})
    + b"hi"
    + head("POST", "/notify/a", LENGTH)
    + DATA,
    "head": b"GET / HTTP/1.1\r\nX: " + DATA[:10_000],
    "head too long": b"GET / HTTP/1.1\r\nX: " + DATA,
}
# Whole ones.
WHOLE = {
    "stored": head("POST", "/notify/a", {"Content-Length": "2"}) + b"hi",
    "not stored": head("POST", "/notify/a", {**JSON, "Content-Length": str(len(ELSEWHERE))})
    + ELSEWHERE,
    "an array, not stored": head(
        "POST", "/notify/a", {**JSON, "Content-Length": str(len(ELSEWHERE) + 2)}
    )
    + b"["
    + ELSEWHERE
    + b"]",
    "lines, not stored": head("POST", "/notify/a", {**LINES, "Content-Length": str(len(ELSEWHERE))})
    + ELSEWHERE,
    "nothing there": head("GET", "/nowhere"),
    "events": head("GET", "/events?channel=a&channel=b:*"),
    "lines out": head("GET", "/stream?channel=a"),
    "events, refused": head("GET", "/events?channel=*bad*"),
}
UNREAD = {
    "history": head("GET", "/channels/full/history") * 4,
    "a poll": head("GET", "/stream?channel=full&poll=1"),
    "events": head("GET", "/events?channel=full&since=all"),
    "a WebSocket's messages": head("GET", "/ws?channel=full&since=all", HANDSHAKE),
}
FRAMES = {
    "half a frame": client_frame(DATA)[: MUCH // 2],
    "half a message": client_frame(DATA, fin=False),
    "a refused message": client_frame(b'{"type":"publish","channel":"*","message":"%s"}' % DATA),
    "a bad message": client_frame(DATA),
    "an unmasked frame": b"\x81\x02hi" + DATA,
    "more than it reads the answers to": client_frame(b'{"type":"ping"}') * 20_000,
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What refers to itself stays for ever."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["plain", "tls"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Server, Any]]:
    """A server, and whom its clients trust."""
    if request.param == "plain":
        async with serving() as server:
            yield server, None
    else:
        async with serving(tls_cert=str(CERTIFICATE), tls_key=str(CERTIFICATE)) as server:
            yield server, ssl.create_default_context(cafile=CERTIFICATE)


def left() -> list[object]:
    """What there is of connections and requests in this process."""
    kinds = (IOStream, HTTP1Connection, HTTPServerRequest, RequestHandler)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


async def all_gone(server: Server) -> None:
    await until(lambda: not server._http._connections and not server.node.connections)
    await until(lambda: not left())


async def client(server: Server, tls: Any, *, receive_buffer: int | None = None) -> RawSocket:
    return RawSocket(*await open_stream(server.port, tls=tls, receive_buffer=receive_buffer))


def leave(wire: RawSocket, ending: str) -> None:
    wire.reset() if ending == "reset" else wire.close()


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("sent", CUT.values(), ids=CUT)
async def test_body_that_breaks_off_is_free_at_once(
    no_collector: None, served: tuple[Server, Any], sent: bytes, ending: str
) -> None:
    server, tls = served
    wire = await client(server, tls)
    await wire.flood(sent, 1)
    leave(wire, ending)
    await all_gone(server)


@pytest.mark.parametrize("sent", [CUT["collected"], CUT["streamed"], CUT["one line"]])
async def test_body_that_takes_too_long_is_free_at_once(no_collector: None, sent: bytes) -> None:
    async with serving(body_timeout=0.2) as server:
        wire = await client(server, None)
        await wire.flood(sent, 1)
        await wire.ended()
        wire.close()
        await all_gone(server)


@pytest.mark.parametrize("sent", WHOLE.values(), ids=WHOLE)
async def test_request_that_was_answered_is_free_at_once(
    no_collector: None, served: tuple[Server, Any], sent: bytes
) -> None:
    server, tls = served
    wire = await client(server, tls)
    await wire.send(sent)
    assert (await wire.answer_head()).status
    wire.close()
    await all_gone(server)


@pytest.mark.parametrize("sent", UNREAD.values(), ids=UNREAD)
async def test_answer_that_nobody_reads_is_free_when_the_connection_is_gone(
    no_collector: None, served: tuple[Server, Any], sent: bytes
) -> None:
    server, tls = served
    for _ in range(10):
        await request(server.port, "POST", "/notify/full", body=DATA * 3, tls=tls)
    wire = await client(server, tls, receive_buffer=4096)
    await wire.send(sent)
    await until(lambda: any(isinstance(one, IOStream) and one.writing() for one in left()))
    wire.reset()
    await all_gone(server)


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("path", ["/ws?channel=a", "/raw/a", "/echo"])
@pytest.mark.parametrize("sent", FRAMES.values(), ids=FRAMES)
async def test_what_a_websocket_held_is_free_at_once(
    no_collector: None, served: tuple[Server, Any], sent: bytes, path: str, ending: str
) -> None:
    server, tls = served
    wire = await client(server, tls)
    assert (await wire.upgrade(path)).status == 101
    await wire.flood(sent, 1)
    leave(wire, ending)
    await all_gone(server)
