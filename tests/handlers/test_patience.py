"""Requests that come too slowly, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from handlers.whole import WHOLE_BYTES
from notifier.server import Server
from tests.handlers.serving import head, request, serving, until, wire_to


@pytest.mark.parametrize("path", ["/notify/a", "/health/live", "/nowhere", "/static/app.js"])
@pytest.mark.parametrize("size", [100, 10_000_000])
async def test_a_body_that_stops_is_given_up(path: str, size: int) -> None:
    async with serving(body_timeout=0.2, max_body_bytes=20_000_000) as server:
        async with wire_to(server.port) as wire:
            method = "POST" if path == "/notify/a" else "GET"
            await wire.send(head(method, path, {"Content-Length": str(size)}) + b"slow")
            await wire.ended()
        await server.node.requests.quiet.wait()


async def test_a_chunked_body_that_stops_is_given_up() -> None:
    async with serving(body_timeout=0.2) as server, wire_to(server.port) as wire:
        chunked = {"Transfer-Encoding": "chunked"}
        await wire.send(head("POST", "/notify/a", chunked) + b"4\r\nslow\r\n")
        assert await wire.ended() == b""
        await server.node.requests.quiet.wait()


async def test_a_connection_may_be_idle_for_so_long_after_each_answer() -> None:
    async with serving(header_timeout=0.3) as server, wire_to(server.port) as wire:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await wire.send(head("POST", "/notify/a", {"Content-Length": "2"}) + b"hi")
            answered = loop.time()
            assert (await wire.answer()).status == 200
        assert await wire.ended() == b""
        assert loop.time() - answered >= 0.3


async def test_nobody_is_looked_after_who_is_gone(server: Server) -> None:
    patience = server._http.request_callback._patience  # type: ignore[union-attr]
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": "9"}) + b"half")
        await until(lambda: len(patience.bodies) == 1)
    await until(lambda: not len(patience.bodies) and not len(patience.heads))
    async with wire_to(server.port) as wire:
        await wire.send(b"POST /notify")
        await until(lambda: len(patience.heads) == 1)
    await until(lambda: not len(patience.heads))
    async with wire_to(server.port) as wire:
        await wire.send(head("GET", "/stream?channel=a"))
        await wire.answer_head()
        await until(lambda: not len(patience.bodies) and not len(patience.heads))


async def test_a_body_without_end_has_its_own_time_until_it_ends(server: Server) -> None:
    patience = server._http.request_callback._patience  # type: ignore[union-attr]
    lines = {"Content-Type": "application/x-ndjson", "Content-Length": "3"}
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", lines) + b'"1')
        await until(lambda: len(patience.unending) == 1)
        await wire.send(b'"')
        assert (await wire.answer()).status == 207
        assert not patience.unending
        await wire.send(head("POST", "/notify/a", lines) + b'"1')
        await until(lambda: len(patience.unending) == 1)
    await until(lambda: not patience.unending)
    assert not len(patience.bodies)


async def test_no_body_is_waited_for_of_what_was_refused(server: Server) -> None:
    patience = server._http.request_callback._patience  # type: ignore[union-attr]
    for _ in range(3):
        assert (await request(server.port, "GET", "/nowhere")).status == 404
    assert patience.bodies._timer is None, "no time has begun"


@pytest.mark.parametrize("size", [2, WHOLE_BYTES + 1])
async def test_a_body_that_is_there_is_waited_for_no_more(server: Server, size: int) -> None:
    """However long its answer takes."""
    patience = server._http.request_callback._patience  # type: ignore[union-attr]
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": str(size)}) + b"h")
        await until(lambda: len(patience.bodies) == 1)
        await wire.send(b"i" * (size - 1))
        assert (await wire.answer()).status == 200
        assert len(patience.bodies) == 0
