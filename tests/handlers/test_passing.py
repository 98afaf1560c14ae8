"""What can't be published for a reason that passes is told so on every way in: come again, then.

A producer that looks at nothing but the status must not take it for done (207), nor for hopeless.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from handlers.routes import routes
from notifier.assets import static_path
from notifier.auth.scopes import Scope
from notifier.errors import TooManyChannels
from notifier.node import Node
from tests.frames import client_frame
from tests.handlers.serving import Answer, raw_socket, request, serving, stored_in

JSON, LINES, TEXT = "application/json", "application/x-ndjson", "text/plain"
ROOM, FAST = 50303, 42906


@dataclass(frozen=True, slots=True)
class Way:
    """One way to publish.

    :param body: of it, something is for ``b``, for which there is no room, and nothing is wrong
        with the rest.
    :param paced: who sends it too fast is slowed down, and not refused.
    """

    method: str
    path: str
    kind: str
    body: object
    paced: bool = False

    async def go(self, port: int) -> Answer:
        path = self.path.replace("{channel}", "b")
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return await request(
            port, self.method, path, body=body, headers={"Content-Type": self.kind}
        )


def item(channel: str) -> dict[str, Any]:
    return {"channel": channel, "message": "x"}


def lines(*items: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in items)


SAID = {"message": "x"}
# Each route that publishes, with each form that it takes. A route without one fails the test below.
WAYS: dict[str, Way] = {
    "an object": Way("POST", "/notify", JSON, item("b")),
    "an object for several": Way("POST", "/notify", JSON, {"channels": ["a", "b"], **SAID}),
    "an array": Way("POST", "/notify", JSON, [item("a"), item("b"), item("a")]),
    "an array of one for several": Way(
        "POST", "/notify", JSON, [item("a"), {"channels": ["a", "b"], **SAID}]
    ),
    "lines": Way("POST", "/notify", LINES, lines(item("a"), item("b")), paced=True),
    "a line for several": Way(
        "POST", "/notify", LINES, lines({"channels": ["a", "b"], **SAID}), paced=True
    ),
    "a text to the channel": Way("POST", "/notify/{channel}", TEXT, b"x"),
    "a form to the channel": Way(
        "POST", "/notify/{channel}", "application/x-www-form-urlencoded", b"message=x"
    ),
    "bytes to the channel": Way("POST", "/notify/{channel}", "image/png", b"x"),
    "an array to the channel": Way("POST", "/notify/{channel}", JSON, [SAID, SAID]),
    "lines to the channel": Way("POST", "/notify/{channel}", LINES, lines(SAID), paced=True),
    "a text put to the channel": Way("PUT", "/notify/{channel}", TEXT, b"x"),
    "an array put to the channel": Way("PUT", "/notify/{channel}", JSON, [SAID]),
    "lines put to the channel": Way("PUT", "/notify/{channel}", LINES, lines(SAID), paced=True),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def test_every_route_that_publishes_is_tried_here(node: Node) -> None:
    """One that is added has its rows, with what it takes, or this fails."""
    table = routes(node, static_path())
    publishing = {
        (method, route.path)
        for route in table
        for method, need in route.policy.needs.items()
        if need is Scope.PUBLISH
    }
    assert {(way.method, way.path) for way in WAYS.values()} == publishing


@every_way
async def test_it_is_503_and_never_207(way: Way) -> None:
    async with serving(max_channels=1) as server:
        assert (await request(server.port, "POST", "/notify/a", body=b"x")).status == 200
        answer = await way.go(server.port)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert f'"code":{ROOM}'.encode() in answer.body.replace(b" ", b"")
        assert b'"temporary":true' in answer.body.replace(b" ", b"")


@every_way
async def test_what_comes_too_fast_is_429_and_nothing_of_it_is_stored(way: Way) -> None:
    async with serving(max_publishes_per_second=2) as server:
        # So many pass at once, and have to be waited for.
        before = json.dumps([item("a")] * 6).encode()
        assert (await request(server.port, "POST", "/notify", body=before)).status == 200
        answer = await way.go(server.port)
        if way.paced:
            assert answer.status == 200
            return
        assert (answer.status, answer.code) == (429, FAST)
        wait_ms = answer.json["error"]["retry_after_ms"]
        assert wait_ms > 0
        assert int(answer.headers["retry-after"]) == -(-wait_ms // 1000)
        assert len(await stored_in(server.port, "a")) == 6
        assert await stored_in(server.port, "b") == []


async def test_over_a_websocket_it_is_told_with_the_command() -> None:
    async with serving(max_channels=1) as server, raw_socket(server.port) as socket:
        publish = {"type": "publish", "message": "x", "ref": 1}
        assert (await socket.ask({**publish, "channel": "a"}))["type"] == "reply"
        refusal = await socket.ask({**publish, "channel": "b"})
        assert (refusal["code"], refusal["temporary"]) == (ROOM, True)
        stored, missing = (await socket.ask({**publish, "channels": ["a", "b"]}))["result"][
            "channels"
        ]
        assert stored["channel"] == "a"
        assert (missing["error"]["code"], missing["error"]["temporary"]) == (ROOM, True)


async def test_over_raw_the_close_code_says_come_back() -> None:
    async with serving(max_channels=1) as server:
        await request(server.port, "POST", "/notify/a", body=b"x")
        async with raw_socket(server.port, "/raw/b") as socket:
            await socket.send(client_frame(b"x"))
            code, _ = await socket.closed(answer=True)
            assert code == TooManyChannels.close_code == 4013
