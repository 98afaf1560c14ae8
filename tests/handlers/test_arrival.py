"""Requests as they come in: whole, in pieces, too slowly, or not at all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from handlers.arrival import WHOLE_BYTES, _go_on
from notifier.server import Server
from tests.handlers.serving import head, request, serving, until, wire_to


async def stored(port: int, channel: str) -> list[str]:
    answer = await request(port, "GET", f"/channels/{channel}/history")
    return [publication["message"] for publication in answer.json["publications"]]


@pytest.mark.parametrize("size", [1, 1000, WHOLE_BYTES, WHOLE_BYTES + 1, 200_000])
async def test_a_body_may_come_in_pieces(server: Server, size: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(size))
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": str(size)}))
        await until(lambda: not server.node.requests.quiet.is_set())
        for begin in range(0, size, size // 3 + 1):
            await wire.send(text[begin : begin + size // 3 + 1].encode())
            await asyncio.sleep(0)
        assert (await wire.answer()).status == 200
        # The connection is kept.
        await wire.send(head("POST", "/notify/a", {"Content-Length": "3"}) + b"end")
        assert (await wire.answer()).status == 200
    assert server.node.requests.quiet.is_set()
    assert await stored(server.port, "a") == [text, "end"]


async def test_requests_in_one_piece_are_answered_in_their_order(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(
            b"".join(
                head("POST", "/notify/a", {"Content-Length": "2"}) + f"{number:02}".encode()
                for number in range(50)
            )
        )
        offsets = [int((await wire.answer()).json["position"].partition(":")[2]) for _ in range(50)]
    assert offsets == list(range(1, 51))
    assert await stored(server.port, "a") == [f"{number:02}" for number in range(50)]


async def test_what_has_to_wait_in_the_middle_goes_on(server: Server) -> None:
    """The memory broker has nobody wait, but a long array gives others a turn."""
    body = json.dumps([{"channel": "a", "message": str(number)} for number in range(500)]).encode()
    answer = await request(
        server.port, "POST", "/notify", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200
    assert [item["channel"] for item in answer.json] == ["a"] * 500


async def test_a_broker_that_has_it_wait_does_so(tmp_path: Path) -> None:
    async with serving(broker=f"sqlite:{tmp_path}/log.db") as server:
        for text in ("one", "two"):
            answer = await request(server.port, "POST", "/notify/a", body=text.encode())
            assert answer.status == 200
        assert await stored(server.port, "a") == ["one", "two"]


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


@pytest.mark.parametrize("ending", ["a result", "an error", "cancelled"])
async def test_what_was_begun_outside_of_a_task_goes_on_in_one(ending: str) -> None:
    answer = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append(await answer)
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
            seen.append("done")
        except (asyncio.CancelledError, ValueError) as raised:
            seen.append(type(raised).__name__)
            raise

    steps = work()
    task = asyncio.create_task(_go_on(steps, steps.send(None)))
    await asyncio.sleep(0)
    if ending == "a result":
        answer.set_result("answer")
        await task
        assert seen == ["answer", "done"]
    elif ending == "an error":
        answer.set_exception(ValueError())
        with pytest.raises(ValueError):
            await task
        assert seen == ["ValueError"]
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["CancelledError"]
