"""``docs/reference/events.md``: what it shows is what a server sends."""

from __future__ import annotations

import json
import re
from typing import Any

from handlers.raw import GAP, GAP_AT_START
from notifier.errors import Draining
from tests.docs.markdown import blocks, read
from tests.handlers.serving import head, request, serving, wire_to

PAGE = read("reference/events.md")


def shown(language: str, heading: str) -> list[str]:
    return [
        block.text
        for block in blocks(PAGE)
        if block.language == language and block.heading == heading
    ]


def shape(text: str) -> list[Any]:
    """Each line's field, and of its data the names of the members."""
    lines: list[Any] = []
    for line in text.splitlines():
        field, _, value = line.partition(": ")
        lines.append((field, [*json.loads(value)] if field == "data" else None))
    return lines


async def test_events_look_like_their_example() -> None:
    (example,) = shown("text", "`/events`")
    async with serving() as server, wire_to(server.port) as wire:
        await wire.send(head("GET", "/events?channel=alerts").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert b" 200 " in await wire.reader.readuntil(b"\r\n\r\n")
        received = await wire.reader.readuntil(b"data: ")
        received += await wire.reader.readuntil(b"\n\n")
        await request(server.port, "POST", "/notify/alerts", body=b"Disk full")
        received += await wire.reader.readuntil(b"data: ")
        received += await wire.reader.readuntil(b"\n\n")
    assert shape(received.decode()) == shape(example.rstrip("\n") + "\n\n")


async def test_lines_look_like_their_examples() -> None:
    kept_alive, end = (json.loads(text) for text in shown("json", "`/stream`"))
    async with serving(ping_interval=0.1) as server:
        await request(server.port, "POST", "/notify/alerts", body=b"Disk full")
        polled = await request(server.port, "GET", "/stream?channel=alerts&poll=1")
        async with wire_to(server.port) as wire:
            await wire.send(head("GET", "/stream?channel=alerts"))
            line = await wire.reader.readuntil(b"keepalive")
            line += await wire.reader.readuntil(b"\n")
    last = json.loads(polled.body.splitlines()[-1])
    assert [*last] == [*end]
    assert last["type"] == end["type"]
    told = json.loads(line[line.rindex(b"{") :])
    assert [*told] == [*kept_alive]
    assert told["since"] == last["since"]


def test_close_codes_are_those_of_the_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (4\d{3}) \|", PAGE, flags=re.MULTILINE)}
    assert codes == {GAP, GAP_AT_START, Draining.close_code}
