"""What browsers are told not to do with our answers."""

from __future__ import annotations

import ssl

import pytest

from notifier.server import Server
from tests.handlers.serving import CERTIFICATE, Answer, head, request, serving, wire_to

RESOURCE = "cross-origin-resource-policy"
STRICT = "strict-transport-security"
FRIEND = "https://dashboard.example"


@pytest.mark.parametrize(
    "path",
    ["/", "/static/app.js", "/channels", "/metrics", "/health/live", "/nowhere", "/ws", "/events"],
)
async def test_every_answer_is_of_its_own_type_and_for_our_own_pages(
    server: Server, path: str
) -> None:
    answer = await request(server.port, "GET", path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers[RESOURCE] == "same-origin"


@pytest.mark.parametrize("path", ["/events?channel=a", "/stream?channel=a"])
async def test_so_is_a_stream(server: Server, path: str) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("GET", path))
        answer = await wire.answer_head()
    assert answer.status == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers[RESOURCE] == "same-origin"


async def test_an_allowed_site_may_embed_what_it_may_read() -> None:
    async with serving(allowed_origins=(FRIEND,)) as server:
        for origin, expected in ((FRIEND, "cross-origin"), ("https://evil.example", "same-origin")):
            answer = await request(server.port, "GET", "/channels", headers={"Origin": origin})
            assert answer.headers[RESOURCE] == expected


@pytest.mark.parametrize("path", ["/", "/static/style.css"])
async def test_the_page_and_its_files_tell_nobody_where_the_reader_comes_from(
    server: Server, path: str
) -> None:
    answer = await request(server.port, "GET", path)
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_page_shares_no_window_and_asks_for_no_device(server: Server) -> None:
    answer = await request(server.port, "GET", "/")
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]


async def strict(path: str = "/channels", **settings: object) -> Answer:
    """The answer to a request that says it came over HTTPS."""
    async with serving(**settings) as server:
        headers = {"X-Forwarded-Proto": "https"}
        return await request(server.port, "GET", path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/channels", "/nowhere"])
async def test_https_is_insisted_on_where_it_is_asked_for(path: str) -> None:
    answer = await strict(path, hsts_max_age="180d", trusted_proxies=("127.0.0.1",), insecure=True)
    assert answer.headers[STRICT] == "max-age=15552000"


async def test_https_is_not_insisted_on_by_itself_nor_at_a_strangers_word() -> None:
    assert STRICT not in (await strict(trusted_proxies=("127.0.0.1",), insecure=True)).headers
    assert STRICT not in (await strict(hsts_max_age="180d")).headers


async def test_https_of_our_own_is_insisted_on() -> None:
    files = {"tls_cert": str(CERTIFICATE), "tls_key": str(CERTIFICATE)}
    async with serving(**files, hsts_max_age=60) as server:
        trust = ssl.create_default_context(cafile=CERTIFICATE)
        answer = await request(server.port, "GET", "/channels", tls=trust)
    assert answer.headers[STRICT] == "max-age=60"
