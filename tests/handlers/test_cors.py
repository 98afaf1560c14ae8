"""Pages of allowed sites may not only ask, their browsers let them see the answers (CORS)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from notifier.server import Server
from tests.handlers.serving import HANDSHAKE, request, serving, wire_to
from tests.handlers.serving import head as request_head
from tests.handlers.test_door import ROUTES, Route

FRIEND = "https://dashboard.example"
STRANGER = "https://evil.example"
SHARED = "access-control-allow-origin"


@pytest.fixture
async def friendly() -> AsyncIterator[Server]:
    async with serving(allowed_origins=(FRIEND,)) as server:
        yield server


@pytest.mark.parametrize("path", ["/channels", "/static/notifier.js", "/nowhere", "/ws"])
async def test_answers_and_refusals_are_shared_with_an_allowed_site(
    friendly: Server, path: str
) -> None:
    answer = await request(friendly.port, "GET", path, headers={"Origin": FRIEND})
    assert answer.headers[SHARED] == FRIEND
    assert "Origin" in answer.headers["vary"]


async def test_a_stream_is_shared_with_an_allowed_site(friendly: Server) -> None:
    async with wire_to(friendly.port) as wire:
        await wire.send(request_head("GET", "/events?channel=a", {"Origin": FRIEND}))
        answer = (await wire.reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert f"{SHARED}: {FRIEND}" in answer


@pytest.mark.parametrize("origin", [STRANGER, "null", ""])
async def test_nothing_is_shared_with_others(friendly: Server, origin: str) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = await request(friendly.port, "GET", "/channels", headers=headers)
    assert answer.status == (403 if origin else 200)
    assert SHARED not in answer.headers
    # A cache in between must not give this answer to a page that may see it, or the reverse.
    assert answer.headers["vary"] == "Origin"


async def test_nothing_is_shared_where_no_site_is_allowed(server: Server) -> None:
    answer = await request(server.port, "GET", "/channels", headers={"Origin": FRIEND})
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert "vary" not in answer.headers


@pytest.mark.parametrize(
    "route", [r for r in ROUTES.values() if not r.socket], ids=lambda r: r.path
)
async def test_a_browser_that_asks_beforehand_is_told_what_is_allowed(
    friendly: Server, route: Route
) -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,idempotency-key",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
    }
    answer = await request(friendly.port, "OPTIONS", route.path, headers=asked)
    assert answer.status == 204
    assert answer.headers[SHARED] == FRIEND
    assert answer.headers["access-control-allow-methods"] == route.allow
    assert answer.headers["access-control-allow-headers"] == "*, Authorization"
    answer = await request(
        friendly.port, "OPTIONS", route.path, headers={**asked, "Origin": STRANGER}
    )
    assert answer.status == 403 and SHARED not in answer.headers


async def test_a_handshake_needs_no_such_headers(friendly: Server) -> None:
    headers = {**HANDSHAKE, "Origin": FRIEND}
    answer = await request(friendly.port, "GET", "/ws", headers=headers)
    assert answer.status == 101
    assert SHARED not in answer.headers


# --- any site ---


@pytest.mark.parametrize("origin", [STRANGER, "null", "*"])
@pytest.mark.parametrize("path", ["/channels", "/nowhere"])
async def test_where_any_site_is_allowed_answers_are_shared_without_credentials(
    origin: str, path: str
) -> None:
    async with serving(allowed_origins=("*", FRIEND)) as server:
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        answer = await request(server.port, "GET", path, headers=headers)
        assert answer.status == (404 if path == "/nowhere" else 200)
        # With the star, no browser shares what was asked for with cookies (WHATWG Fetch §4.10).
        assert answer.headers[SHARED] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"] == "Origin"
        friends = await request(server.port, "GET", path, headers={"Origin": FRIEND})
        assert friends.headers[SHARED] == FRIEND


async def test_where_any_site_is_allowed_a_browser_that_asks_beforehand_is_told_so() -> None:
    async with serving(allowed_origins=("*",)) as server:
        asked = {
            "Origin": STRANGER,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        answer = await request(server.port, "OPTIONS", "/notify", headers=asked)
        assert (answer.status, answer.headers[SHARED]) == (204, "*")
        assert answer.headers["access-control-allow-headers"] == "*, Authorization"
