"""What a request is about can be said in four forms (RFC 9112 §3.2)."""

from __future__ import annotations

import pytest

from notifier.server import Server
from tests.handlers.serving import HANDSHAKE, Answer, serving, stored_in, wire_to

LIVE = "/health/live"


async def ask(
    port: int,
    target: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    version: str = "1.1",
    body: bytes = b"",
) -> Answer:
    fields = {"Host": "localhost", **(headers or {})}
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    async with wire_to(port) as wire:
        await wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await wire.answer(method)


@pytest.mark.parametrize(
    "target",
    [
        f"http://localhost{LIVE}",
        f"HTTP://LOCALHOST:8888{LIVE}?a=b",
        f"https://127.0.0.1{LIVE}",
        f"http://[::1]:8888{LIVE}",
    ],
)
async def test_the_absolute_form_is_as_good_as_a_path(server: Server, target: str) -> None:
    answer = await ask(server.port, target)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_it_leads_to_every_kind_of_handler(server: Server) -> None:
    """With its query, its parts, its body, and what is said later of it."""
    here = f"http://localhost:{server.port}"
    for target in (here, f"{here}/", f"{here}?", f"{here}/static/app.js"):
        assert (await ask(server.port, target)).headers["content-type"].startswith("text/")
    assert (await ask(server.port, f"{here}/ws?channel=a", headers=HANDSHAKE)).status == 101
    told = {"Content-Length": "2"}
    posted = f"{here}/notify/builds%3Aa?title=t"
    answer = await ask(server.port, posted, method="POST", headers=told, body=b"hi")
    assert answer.json["channel"] == "builds:a"
    (stored,) = await stored_in(server.port, "builds:a")
    assert (stored["title"], stored["message"]) == ("t", "hi")
    missing = await ask(server.port, f"{here}/nowhere?x=http://a")
    assert missing.json["error"]["message"] == "There is nothing at /nowhere."
    assert (await ask(server.port, f"{here}/nodes", method="POST", headers=told)).status == 405


@pytest.mark.parametrize("path", [LIVE, "/ws", "/static/app.js", "/"])
async def test_its_host_counts_and_the_header_does_not(server: Server, path: str) -> None:
    """Or a name that was rebound to our address would pass for ours."""
    headers = HANDSHAKE if path == "/ws" else {}
    answer = await ask(server.port, f"http://evil.example{path}", headers=headers)
    assert (answer.status, answer.code) == (421, 42101)
    for host in ("evil.example", ""):
        wanted = 200 if host else 400
        answer = await ask(server.port, f"http://localhost{LIVE}", headers={"Host": host})
        assert answer.status == wanted, "HTTP/1.1 has the header, whatever is in it"


async def test_the_origin_is_compared_with_it(server: Server) -> None:
    target = f"http://localhost:1{LIVE}"
    for origin, status in (("http://localhost:1", 200), ("http://localhost", 403)):
        answer = await ask(server.port, target, headers={"Origin": origin})
        assert answer.status == status


async def test_a_name_that_is_allowed_is_allowed_there() -> None:
    async with serving(allowed_hosts=("push.example",), insecure=True) as server:
        for host, status in (("push.example", 200), ("push.example.evil", 421)):
            assert (await ask(server.port, f"http://{host}{LIVE}")).status == status


async def test_http_1_0_needs_no_header(server: Server) -> None:
    for host, status in (("localhost", 200), ("evil.example", 421)):
        target = f"http://{host}{LIVE}"
        answer = await ask(server.port, target, headers={"Host": ""}, version="1.0")
        assert answer.status == status


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "health/live"),
        ("GET", "*"),
        ("GET", "localhost:80"),
        ("GET", "ftp://localhost/health/live"),
        ("GET", "http:/health/live"),
        ("GET", "http:///health/live"),
        ("GET", "http://"),
        ("GET", "http://me:secret@localhost/health/live"),
        ("GET", "http://localhost/health/live#there"),
        ("GET", "http://localhost,evil.example/health/live"),
        ("GET", "http://local^host/health/live"),
        ("GET", "http://localhost:x/health/live"),
        ("GET", "http://localhost:99999999/health/live"),
        ("GET", "http://[::1/health/live"),
        ("GET", "http://::1/health/live"),
        ("OPTIONS", "**"),
    ],
)
async def test_what_has_none_of_the_forms_is_refused(
    server: Server, method: str, target: str
) -> None:
    answer = await ask(server.port, target, method=method)
    assert (answer.status, answer.code) == (400, 40000)
    assert answer.headers["connection"] == "close"


async def test_of_the_server_as_a_whole_it_is_told_what_can_be_asked(server: Server) -> None:
    answer = await ask(server.port, "*", method="OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, POST, DELETE, PUT, OPTIONS"
    assert (await ask(server.port, "*", method="OPTIONS", headers={"Host": "evil"})).status == 421


@pytest.mark.parametrize(
    ("method", "target"),
    [("CONNECT", "localhost:443"), ("CONNECT", "/notify/a"), ("BREW", "/notify/a")],
)
async def test_it_is_no_proxy(server: Server, method: str, target: str) -> None:
    """And what follows is not taken for a request."""
    async with wire_to(server.port) as wire:
        await wire.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = await wire.answer(method)
        assert (answer.status, answer.code) == (405, 40501)
        assert answer.headers["connection"] == "close"
        assert "OPTIONS" in answer.headers["allow"]
        assert await wire.ended() == b""
