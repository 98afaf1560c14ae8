"""Pages that may ask because any may: what their visitor's browser adds does not count."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifier.config import NamespaceSettings, Settings
from notifier.notification import Notification
from notifier.server import Server
from notifier.serving import tell_who_may
from tests.auth.signing import SECRET
from tests.handlers.serving import HANDSHAKE, Answer, head, raw_socket, request, serving, wire_to
from tests.handlers.test_credentials import token

FRIEND = "https://friend.example"
STRANGER = "https://evil.example"
JSON = {"Content-Type": "application/json"}
OPEN = NamespaceSettings(who_may_subscribe="public", who_may_publish="public")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(
        token_secret=SECRET,
        token_cookie="session",
        allowed_origins=("*", FRIEND),
        namespaces={"open": OPEN},
    ) as server:
        await server.node.publish(Notification.of_payload("x"), "alerts", producer="")
        yield server


def of_the_browser(what: str) -> dict[str, str]:
    shown = token(publish=True)
    if what == "cookie":
        return {"Cookie": f"session={shown}"}
    return {"Authorization": "Basic " + base64.b64encode(f":{shown}".encode()).decode()}


def of_the_page(what: str) -> dict[str, str]:
    shown = token(publish=True)
    return {
        "header": {"Authorization": f"Bearer {shown}"},
        "key's header": {"X-API-Key": shown},
        "subprotocol": {"Sec-WebSocket-Protocol": f"notifier.v1, bearer.{shown}"},
    }[what]


ASKS: dict[str, tuple[str, str, dict[str, str], bytes | None]] = {
    "history": ("GET", "/channels/alerts/history", {}, None),
    "stream": ("GET", "/stream?channel=alerts&since=all&poll=1", {}, None),
    "events": ("HEAD", "/events?channel=alerts", {"Accept": "text/event-stream"}, None),
    "ws": ("GET", "/ws?channel=alerts", HANDSHAKE, None),
    "raw": ("GET", "/raw/alerts", HANDSHAKE, None),
    "publish": ("POST", "/notify/alerts", JSON, b'{"message": "x"}'),
    "lines": (
        "POST", "/notify/alerts", {"Content-Type": "application/x-ndjson"}, b'{"message": "x"}\n'
    ),
    "ticket": ("POST", "/ticket", {}, None),
}  # fmt: skip


async def ask(server: Server, what: str, **more: str) -> Answer:
    method, path, headers, body = ASKS[what]
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return await request(server.port, method, path, headers={**headers, **named}, body=body)


def came(answer: Answer) -> bool:
    """Let in; else not known, which is not the same as not allowed."""
    if answer.status in (200, 101):
        return True
    assert answer.status == 401 or (answer.json["failed"], answer.status) == (1, 207)
    return False


# Where nobody in particular may connect, what they want is refused in a message: see below.
@pytest.mark.parametrize("asked", [ask for ask in ASKS if ask not in ("ws", "events")])
@pytest.mark.parametrize("what", ["cookie", "Basic"])
@pytest.mark.parametrize(
    ("origin", "site", "counts"),
    [
        (STRANGER, "cross-site", False),
        (STRANGER, "", False),
        ("null", "cross-site", False),
        (FRIEND, "cross-site", True),
        ("", "same-origin", True),
        ("", "", True),
    ],
)
async def test_what_a_browser_adds_counts_for_our_pages_and_those_of_named_sites_alone(
    server: Server, what: str, asked: str, origin: str, site: str, counts: bool
) -> None:
    headers = of_the_browser(what)
    if origin:
        headers["Origin"] = origin
    if site:
        headers["Sec-Fetch-Site"] = site
    answer = await ask(server, asked, **headers)
    assert came(answer) is counts


async def test_a_websocket_with_a_strangers_cookie_is_nobodys(server: Server) -> None:
    headers = {"Origin": STRANGER, **of_the_browser("cookie")}
    async with raw_socket(server.port, "/ws", headers) as socket:
        refusal = await socket.ask({"type": "subscribe", "channel": "alerts"})
        assert (refusal["type"], refusal["code"]) == ("error", 40100)
        assert (await socket.ask({"type": "subscribe", "channel": "open:1"}))["type"] != "error"
        # What the page itself says counts.
        told = await socket.ask({"type": "authenticate", "token": token("77")})
        assert told["result"]["name"] == "77"
    async with raw_socket(server.port, "/ws", {**headers, "Origin": FRIEND}) as socket:
        refusal = await socket.ask({"type": "subscribe", "channel": "alerts"})
        assert refusal["type"] == "subscribed"


async def test_an_event_source_with_a_strangers_cookie_gets_nothing(server: Server) -> None:
    headers = {"Accept": "text/event-stream", "Origin": STRANGER, **of_the_browser("cookie")}
    async with wire_to(server.port) as wire:
        await wire.send(head("GET", "/events?channel=alerts&since=all", headers))
        answer = await wire.answer()
    assert b"40100" in answer.body and b'"x"' not in answer.body


@pytest.mark.parametrize("asked", ASKS)
@pytest.mark.parametrize("what", ["header", "key's header", "subprotocol"])
async def test_what_a_page_says_itself_counts(server: Server, what: str, asked: str) -> None:
    headers = {"Origin": STRANGER, "Sec-Fetch-Site": "cross-site", **of_the_page(what)}
    # Beside what does not.
    headers |= {"Cookie": "session=rubbish"}
    assert came(await ask(server, asked, **headers))


async def test_a_ticket_in_the_url_counts(server: Server) -> None:
    headers = {"Origin": STRANGER, **of_the_page("header")}
    ticket = json.loads((await ask(server, "ticket", **headers)).body)["ticket"]
    path = f"/stream?channel=alerts&since=all&poll=1&ticket={ticket}"
    answer = await request(server.port, "GET", path, headers={"Origin": STRANGER})
    assert answer.status == 200 and b'"x"' in answer.body


async def test_the_host_is_looked_at_all_the_same(server: Server) -> None:
    headers = {"Origin": STRANGER, "Host": "rebound.example", **of_the_page("header")}
    assert (await ask(server, "history", **headers)).status == 421


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"allowed_origins": ("*",)}, True),
        ({"allowed_origins": ("*",), "host": "0.0.0.0", "insecure": True}, True),
        ({"allowed_origins": ("*",), "token_secret": SECRET}, False),
        ({"allowed_origins": (FRIEND,)}, False),
        ({}, False),
    ],
)
def test_one_that_asks_nobody_and_lets_any_page_in_is_warned_of(
    settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tell_who_may(Settings(**settings))
    assert ("server.open_to_any_page" in caplog.text) is warned
