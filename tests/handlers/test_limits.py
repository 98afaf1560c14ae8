"""Limits, as clients see them that do not care about limits."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from notifier.server import Server
from tests.frames import client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    head,
    raw_socket,
    request,
    serving,
    stored_in,
    until,
    wire_to,
)

MEGABYTE = b"x" * 2**20


# --- bodies ---


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/notify", "POST", 413),
        ("/notify/a", "PUT", 413),
        ("/nowhere", "POST", 404),
        ("/health/live", "POST", 405),
        ("/notify", "DELETE", 405),
        ("/channels/a/history", "GET", 413),
        ("/", "POST", 405),
        ("/ws", "POST", 405),
        ("/static/app.js", "PUT", 405),
    ],
)
async def test_who_sends_a_body_over_the_limit_gets_to_see_the_refusal(
    server: Server, path: str, method: str, status: int
) -> None:
    size = 50 * len(MEGABYTE)
    async with wire_to(server.port) as wire:
        await wire.send(head(method, path, {"Content-Length": str(size)}))
        sending = asyncio.create_task(wire.flood(MEGABYTE, 50))
        answer = await wire.answer()
        assert (answer.status, answer.code // 100) == (status, status)
        assert answer.headers["connection"] == "close"
        await sending
    assert await stored_in(server.port, "a") == []


async def test_the_refusal_comes_before_the_body(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": "1048577"}))
        answer = await wire.answer()
        assert (answer.status, answer.code) == (413, 41301)
        assert answer.json["error"]["limit"] == 2**20
        assert await wire.ended() == b""


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with serving(max_body_bytes=1000) as server:
        answer = await request(server.port, "POST", "/notify/a", body=b"x" * 1000)
        assert answer.status == 200
        answer = await request(server.port, "POST", "/notify/a", body=b"x" * 1001)
        assert answer.code == 41301


@pytest.mark.parametrize("length", ["99999999999999999999999", "9" * 400, "0" * 30 + "1048577"])
async def test_an_absurd_length_is_refused_like_any_other(server: Server, length: str) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": length}))
        assert (await wire.answer()).code == 41301


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/notify/a", "POST", 413), ("/nowhere", "POST", 404), ("/notify/a", "DELETE", 405)],
)
async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_sent(
    server: Server, path: str, method: str, status: int
) -> None:
    chunk = b"100000\r\n" + MEGABYTE + b"\r\n"
    async with wire_to(server.port) as wire:
        await wire.send(head(method, path, {"Transfer-Encoding": "chunked"}))
        sending = asyncio.create_task(wire.flood(chunk, 30))
        answer = await wire.answer()
        assert (answer.status, answer.code // 100) == (status, status)
        await sending
    assert await stored_in(server.port, "a") == []


async def test_a_chunked_body_over_the_limit_that_ends_leaves_no_hanging_connection(
    server: Server,
) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Transfer-Encoding": "chunked"}))
        await wire.send((b"100000\r\n" + MEGABYTE + b"\r\n") * 2 + b"0\r\n\r\n")
        answer = await wire.answer()
        assert (answer.status, answer.code) == (413, 41301)
        assert await wire.ended() == b""


async def test_who_sends_chunks_without_end_is_cut_off(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Transfer-Encoding": "chunked"}))
        times = await wire.flood(b"100000\r\n" + MEGABYTE + b"\r\n", 200)
        assert times < 200


@pytest.mark.parametrize("path", ["/health/live", "/channels"])
async def test_a_body_nobody_asked_for_is_read_away(server: Server, path: str) -> None:
    async with wire_to(server.port) as wire:
        body = b"100000\r\n" + MEGABYTE + b"\r\n"
        await wire.send(head("GET", path, {"Transfer-Encoding": "chunked"}))
        await wire.send(body * 3 + b"0\r\n\r\n")
        assert (await wire.answer()).status == 200
        await wire.send(head("GET", path))  # the connection is as good as new
        assert (await wire.answer()).status == 200


async def test_who_asks_before_sending_is_told_not_to(server: Server) -> None:
    headers = {"Content-Length": "50000000", "Expect": "100-continue"}
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", headers))
        assert (await wire.answer()).code == 41301
        assert await wire.ended() == b""


async def test_who_asks_before_sending_is_told_to_go_on(server: Server) -> None:
    headers = {"Content-Length": "2", "Expect": "100-continue"}
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", headers))
        assert (await wire.answer()).status == 100
        await wire.send(b"hi")
        assert (await wire.answer()).status == 200


@pytest.mark.parametrize("more", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]])
async def test_curl_shows_the_refusal(server: Server, tmp_path: Path, more: list[str]) -> None:
    big = tmp_path / "big"
    big.write_bytes(MEGABYTE * 20)
    done = await asyncio.to_thread(
        subprocess.run,
        ["curl", "-sS", "--data-binary", f"@{big}", *more, f"{server.url}/notify/a"],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == 41301


async def test_a_slow_body_is_given_up() -> None:
    async with serving(body_timeout=0.2) as server, wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": "100"}) + b"slow")
        await wire.ended()
        assert await stored_in(server.port, "a") == []
        assert server.node.counts.errors[40801] == 1


# --- heads ---


@pytest.mark.parametrize("path", ["/notify/a", "/health/live", "/", "/static/app.js", "/nowhere"])
async def test_a_head_over_the_limit_is_told_so(path: str) -> None:
    async with serving(max_header_bytes=2000) as server:
        for headers, query in (({"X-Long": "x" * 2000}, ""), ({}, "?title=" + "x" * 2000)):
            answer = await request(server.port, "GET", path + query, headers=headers)
            assert (answer.status, answer.code) == (431, 43102)
            assert answer.json["error"]["limit"] == 2000


async def test_a_handshake_with_a_head_over_the_limit_is_told_so() -> None:
    async with serving(max_header_bytes=2000) as server:
        for path in ("/ws", "/echo"):
            headers = {**HANDSHAKE, "Cookie": "x" * 2000}
            answer = await request(server.port, "GET", path, headers=headers)
            assert (answer.status, answer.code) == (431, 43102)


async def test_a_head_far_over_the_limit_is_cut_off() -> None:
    async with serving(max_header_bytes=2000) as server, wire_to(server.port) as wire:
        times = await wire.flood(b"GET / HTTP/1.1\r\nX: " + MEGABYTE, 50)
        assert times < 50
        assert (await request(server.port, "GET", "/health/live")).status == 200


async def test_a_head_that_never_ends_is_given_up() -> None:
    async with serving(header_timeout=0.2) as server, wire_to(server.port) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: loc")
        assert await wire.ended() == b""
        assert server.node.counts.errors[40803] == 1
        # One that is only idle has asked for nothing.
        async with wire_to(server.port) as idle:
            assert await idle.ended() == b""
        assert server.node.counts.errors[40803] == 1


# --- connections and subscriptions ---


async def test_one_connection_too_many_is_turned_away_until_one_leaves() -> None:
    async with serving(max_connections=2) as server, AsyncExitStack() as stack:
        first = await stack.enter_async_context(raw_socket(server.port))
        await stack.enter_async_context(raw_socket(server.port, "/echo"))
        for path in ("/ws", "/echo", "/"):
            answer = await request(server.port, "GET", path, headers=HANDSHAKE)
            assert (answer.status, answer.code) == (503, 50304)
            assert answer.json["error"]["temporary"] is True
            assert answer.headers["retry-after"] == "1"
        first.close()
        await until(lambda: len(server.node.connections) == 1)
        await stack.enter_async_context(raw_socket(server.port))


async def test_a_connection_has_so_many_subscriptions() -> None:
    async with serving(max_subscriptions=2) as server:
        answer = await request(
            server.port, "GET", "/ws?channel=a&channel=b&channel=c", headers=HANDSHAKE
        )
        assert (answer.status, answer.code) == (429, 42901)
        async with raw_socket(server.port, "/ws?channel=a") as socket:
            assert (await socket.message())["type"] == "subscribed"
            assert (await socket.ask({"type": "subscribe", "channel": "b"}))["type"] == "subscribed"
            refusal = await socket.ask({"type": "subscribe", "channel": "c", "ref": 1})
            assert (refusal["code"], refusal["ref"], refusal["limit"]) == (42901, 1, 2)
            await socket.ask({"type": "unsubscribe", "channel": "a"})
            assert (await socket.ask({"type": "subscribe", "channel": "c"}))["type"] == "subscribed"


async def test_the_server_remembers_so_many_channels() -> None:
    async with serving(max_channels=2) as server:
        for channel in ("a", "b", "a"):
            assert (
                await request(server.port, "POST", f"/notify/{channel}", body=b"x")
            ).status == 200
        answer = await request(server.port, "POST", "/notify/c", body=b"x")
        assert (answer.status, answer.code) == (503, 50303)


async def test_who_asks_and_never_reads_the_answers_is_not_read_either() -> None:
    """Bounded by the kernel's buffers: the server stops reading, then cuts nobody else off."""
    async with serving() as server, raw_socket(server.port) as greedy:
        big = b"x" * 100_000
        answer = await request(server.port, "POST", "/notify/a", body=big)
        assert answer.status == 200
        ask = json.dumps({"type": "history", "channel": "a"}).encode()
        for _ in range(500):
            greedy.give(client_frame(ask))
        async with raw_socket(server.port, "/ws?channel=b") as other:
            assert (await other.message())["type"] == "subscribed"
            await request(server.port, "POST", "/notify/b", body=b"hi")
            assert (await other.message())["message"] == "hi"
        await until(lambda: len(server.node.connections) == 1)
        (stuck,) = server.node.connections
        await until(lambda: stuck.blocked)
        assert stuck.unread() < 16 * 2**20
        greedy.reset()
