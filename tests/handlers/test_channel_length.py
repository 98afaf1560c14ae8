"""How long a channel's name may be, wherever one is given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from notifier.notification import Notification
from notifier.server import Server
from tests.handlers.serving import HANDSHAKE, Answer, raw_socket, request, serving

# Twelve bytes each.
LONGEST = ("abcdefghijkl", "größe:grö", "abcdefghij:*")
LIMIT = 12


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(max_channel_name_bytes=LIMIT, presence=True) as server:
        yield server


def refused(server: Server) -> int:
    """How often a name that is too long was refused."""
    counts = server.node.counts
    intakes = sum(intake.refused[40010] for intake in counts.intakes.values())
    return counts.errors[40010] + intakes


HTTP: dict[str, tuple[str, str, Any]] = {
    "channel": ("GET", "/channels/{}", None),
    "history": ("GET", "/channels/{}/history", None),
    "presence": ("GET", "/channels/{}/presence", None),
    "notify": ("POST", "/notify/{}", "hi"),
    "body": ("POST", "/notify", lambda name: {"channel": name, "message": "hi"}),
    "channels": ("POST", "/notify", lambda name: {"channels": ["a", name], "message": "hi"}),
    "array": ("POST", "/notify", lambda name: [{"channel": name, "message": "hi"}]),
    "ws": ("GET", "/ws?channel={}", None),
    "raw": ("GET", "/raw/{}", None),
    "events": ("HEAD", "/events?channel={}", None),
    "stream": ("GET", "/stream?channel={}&poll=1", None),
}
LISTENING = ("ws", "events", "stream")


async def ask(server: Server, what: str, name: str) -> Answer:
    method, path, body = HTTP[what]
    data = json.dumps(body(name)).encode() if callable(body) else body and body.encode()
    headers = {"Content-Type": "application/json"} if callable(body) else {}
    headers |= HANDSHAKE if what in ("ws", "raw") else {}
    return await request(
        server.port, method, path.format(quote(name, safe="*")), headers=headers, body=data
    )


@pytest.mark.parametrize("what", HTTP)
@pytest.mark.parametrize("name", LONGEST)
async def test_a_name_that_is_too_long_is_refused_and_counted(
    server: Server, what: str, name: str
) -> None:
    pattern = "*" in name
    if pattern and what not in LISTENING:
        pytest.skip("it takes no patterns")
    if not pattern:
        await server.node.publish(Notification.of_payload("x"), name, producer="")
    answer = await ask(server, what, name)
    assert answer.status in (200, 101)
    assert refused(server) == 0
    answer = await ask(server, what, name + "x")
    if what == "array":
        assert answer.status == 207
        error = answer.json[0]["error"]
    else:
        assert answer.status == 400
        error = answer.json["error"] if answer.body else {"code": 40010, "limit": LIMIT}
    assert (error["code"], error["limit"]) == (40010, LIMIT)
    assert refused(server) >= 1


@pytest.mark.parametrize(
    "command",
    [
        {"type": "subscribe"},
        {"type": "publish", "message": "x"},
        {"type": "history"},
        {"type": "presence"},
    ],
    ids=lambda command: command["type"],
)
async def test_over_a_websocket_it_is_an_error_and_counted(
    server: Server, command: dict[str, Any]
) -> None:
    name = LONGEST[0]
    await server.node.publish(Notification.of_payload("x"), name, producer="")
    async with raw_socket(server.port) as socket:
        assert (await socket.ask({**command, "channel": name}))["type"] != "error"
        refusal = await socket.ask({**command, "channel": name + "x"})
        assert (refusal["type"], refusal["code"], refusal["limit"]) == ("error", 40010, LIMIT)
        assert refused(server) >= 1


async def test_a_line_that_names_one_fails_alone(server: Server) -> None:
    lines = [{"channel": name, "message": "x"} for name in (LONGEST[0], LONGEST[0] + "x")]
    body = "\n".join(map(json.dumps, lines)).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await request(server.port, "POST", "/notify", headers=headers, body=body)
    assert (answer.json["stored"], answer.json["failed"]) == (1, 1)
    assert answer.json["failures"][0]["error"]["code"] == 40010
    assert refused(server) == 1


async def test_what_is_longer_from_before_can_be_deleted() -> None:
    name = LONGEST[0] + "x"
    async with serving() as server:
        assert (await ask(server, "notify", name)).status == 200
        # As after a restart with a lower setting.
        server.node._longest_name = LIMIT
        assert (await ask(server, "history", name)).code == 40010
        answer = await request(server.port, "DELETE", f"/channels/{name}/history")
        assert (answer.status, answer.json["deleted"]) == (200, 1)


async def test_the_length_is_told_where_limits_are(server: Server) -> None:
    told = (await request(server.port, "GET", "/openapi.json")).json
    for path in ("/notify/{channel}", "/channels/{channel}/history", "/ws", "/events"):
        (operation, *_) = told["paths"][path].values()
        schemas = [p["schema"] for p in operation["parameters"] if p["name"] == "channel"]
        lengths = {schema.get("items", schema).get("maxLength") for schema in schemas}
        assert LIMIT in lengths and 200 not in lengths
        assert "40010" in operation["responses"]["400"]["description"]
    shown = (await request(server.port, "GET", "/settings")).json
    assert shown["max_channel_name_bytes"]["value"] == str(LIMIT)
