"""``docs/reference/websocket.md``: what it shows is what a server sends and takes."""

from __future__ import annotations

import json
import time
from typing import Any

from notifier.auth.issuing import make_token, signing_secret
from notifier.notification import Gap, Position
from notifier.session import _MEMBERS
from notifier.wire import messages
from tests.auth.signing import SECRET
from tests.docs.markdown import blocks, read
from tests.handlers.serving import raw_socket, request, serving

PAGE = read("reference/websocket.md")
EXAMPLES = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
SENT, TAKEN = PAGE.partition("## What a client sends")[::2]


def examples(part: str, kind: str) -> list[dict[str, Any]]:
    found = [
        json.loads(block.text)
        for block in blocks(part)
        if block.language == "json" and block.heading == f"`{kind}`"
    ]
    return [example for example in found if example["type"] == kind]


def members(message: dict[str, Any]) -> dict[str, Any]:
    """The names of its members, in order for the first; of objects inside it as well."""
    return {
        name: set(value)
        if isinstance(value, dict) and name in ("gap", "result", "member")
        else None
        for name, value in message.items()
    }


def test_type_stands_first_in_every_example() -> None:
    for example in EXAMPLES:
        assert next(iter(example)) == "type"


def test_every_command_has_its_example() -> None:
    for kind, names in _MEMBERS.items():
        (example,) = examples(TAKEN, kind)
        assert example.keys() - {"type", "ref"} <= names


async def test_messages_of_the_server_look_like_their_examples() -> None:
    seen: dict[str, list[dict[str, Any]]] = {}
    async with serving(history_size=2, feed_size=1, presence=True) as server:
        for n in range(5):
            body = json.dumps({"title": "T", "message": str(n), "priority": 5}).encode()
            first = await request(server.port, "POST", "/notify/alerts", body=body)
        assert first.status == 200
        epoch = first.json["position"].partition(":")[0]

        async def note(message: dict[str, Any]) -> dict[str, Any]:
            seen.setdefault(message["type"], []).append(message)
            return message

        async with raw_socket(server.port) as socket:
            commands = [
                {"type": "subscribe", "channel": "alerts", "since": f"{epoch}:5", "ref": "s1"},
                {"type": "unsubscribe", "channel": "alerts", "ref": "u1"},
                {"type": "subscribe", "channel": "a b", "ref": "s2"},
                {"type": "publish", "channel": "other", "message": "x", "ref": "p1"},
                {"type": "ping", "ref": 7},
                {"type": "subscribe", "channel": "alerts", "since": f"{epoch}:1", "ref": "s3"},
            ]
            for command in commands:
                await note(await socket.ask(command))
            await note(await socket.message())
        async with raw_socket(server.port, "/ws?channel=b&presence=1") as socket:
            await socket.message()
            await note(await socket.message())
            async with raw_socket(server.port, "/ws?channel=b"):
                await note(await socket.message())
            await note(await socket.message())
        async with raw_socket(server.port) as socket:
            server.node.connections.draining = True
            (connection,) = server.node.connections.values()
            connection.reconnect(1234)
            await note(await socket.message())
    await note(json.loads(messages.item(Gap("a", Position("x", 1), Position("x", 3)))))
    for kind, sent in seen.items():
        shown = [members(example) for example in EXAMPLES if example["type"] == kind]
        for message in sent:
            assert members(message) in shown, kind
    assert seen.keys() == {
        "subscribed",
        "notification",
        "gap",
        "unsubscribed",
        "reply",
        "error",
    } | {"reconnect", "presence"}
    shown = [example["event"] for example in EXAMPLES if "event" in example]
    assert shown == ["now", "join", "leave", "count"]


async def test_every_example_of_a_command_is_taken() -> None:
    anybody = dict.fromkeys(
        ("who_may_publish", "who_may_subscribe", "who_may_read_history", "who_may_see_presence"),
        "public",
    )
    async with (
        serving(token_secret=SECRET, **anybody) as server,
        raw_socket(server.port) as socket,
    ):
        for kind in _MEMBERS:
            (example,) = examples(TAKEN, kind)
            if kind == "unsubscribe":
                assert (await socket.ask(example))["type"] == "unsubscribed"
                continue
            if kind == "authenticate":  # a real one would be out of date by now
                claims = {"sub": "42", "channels": ["*"], "exp": time.time() + 600}
                example["token"] = make_token(claims, signing_secret(SECRET))
            answer = await socket.ask(example)
            assert answer["type"] in ("subscribed", "reply"), answer


def test_every_message_of_a_server_has_its_example() -> None:
    kinds = {"welcome", "subscribed", "notification", "gap", "unsubscribed", "reply", "error"}
    for kind in kinds | {"reconnect", "presence"}:
        assert examples(SENT, kind), kind
