"""Requests as they come in: at once, in pieces, several in one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from handlers.whole import WHOLE_BYTES
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


async def test_a_broker_that_has_it_wait_does_so(tmp_path: Path) -> None:
    async with serving(broker=f"sqlite:{tmp_path}/log.db") as server:
        for text in ("one", "two"):
            answer = await request(server.port, "POST", "/notify/a", body=text.encode())
            assert answer.status == 200
        assert await stored(server.port, "a") == ["one", "two"]
