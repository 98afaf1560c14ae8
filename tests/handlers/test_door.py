"""What every request passes, over every route there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from tornado.web import Application, HTTPError, RequestHandler

from handlers import door
from notifier.assets import static_path
from notifier.errors import InternalError
from notifier.node import Node
from notifier.server import Server
from tests.handlers.serving import HANDSHAKE, Answer, request, serving, stored_in, wire_to
from tests.handlers.serving import head as request_head


@dataclass(frozen=True)
class Route:
    """What is expected of one row of ``handlers/routes.py``.

    :param path: a URL it matches.
    :param allow: its methods, the rest is 405.
    :param strangers: pages of any site may use it, under any host name.
    :param linked: a link on another site may lead here.
    :param socket: a WebSocket handshake succeeds here.
    :param wants: the query it needs to answer 200.
    :param endless: then its answer has no end.
    :param lively: its answer is another one each time.
    """

    path: str
    allow: str
    strangers: bool = False
    linked: bool = False
    socket: bool = False
    wants: str = ""
    endless: bool = False
    lively: bool = False


# One row for each route; test_every_route_has_its_row fails when one is missing.
ROUTES = {
    "/": Route("/", "GET, HEAD, OPTIONS", linked=True, socket=True),
    "/static/(.+)": Route("/static/app.js", "GET, HEAD, OPTIONS"),
    "/ws": Route("/ws", "GET, OPTIONS", socket=True),
    "/echo": Route("/echo", "GET, OPTIONS", strangers=True, socket=True),
    "/raw/([^/]+)": Route("/raw/alerts", "GET, OPTIONS", socket=True),
    "/events": Route("/events", "GET, HEAD, OPTIONS", endless=True),
    "/stream": Route("/stream", "GET, HEAD, OPTIONS", wants="?channel=alerts&poll=1"),
    "/notify": Route("/notify", "POST, OPTIONS"),
    "/notify/([^/]+)": Route("/notify/alerts", "POST, PUT, OPTIONS"),
    "/channels": Route("/channels", "GET, HEAD, OPTIONS"),
    "/channels/([^/]+)": Route("/channels/alerts", "GET, HEAD, OPTIONS"),
    "/channels/([^/]+)/history": Route("/channels/alerts/history", "GET, HEAD, DELETE, OPTIONS"),
    "/channels/([^/]+)/presence": Route("/channels/alerts/presence", "GET, HEAD, OPTIONS"),
    "/connections": Route("/connections", "GET, HEAD, DELETE, OPTIONS"),
    "/connections/([^/]+)": Route("/connections/x", "DELETE, OPTIONS"),
    "/connections/([^/]+)/subscriptions/([^/]+)": Route(
        "/connections/x/subscriptions/alerts", "DELETE, OPTIONS"
    ),
    "/nodes": Route("/nodes", "GET, HEAD, OPTIONS"),
    "/revocations": Route("/revocations", "GET, HEAD, POST, OPTIONS"),
    "/settings": Route("/settings", "GET, HEAD, OPTIONS"),
    "/ticket": Route("/ticket", "POST, OPTIONS", lively=True),
    "/metrics": Route("/metrics", "GET, HEAD, OPTIONS", lively=True),
    "/health/live": Route("/health/live", "GET, HEAD, OPTIONS"),
    "/health/ready": Route("/health/ready", "GET, HEAD, OPTIONS"),
    "/openapi.json": Route("/openapi.json", "GET, HEAD, OPTIONS"),
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
NOT_FOUND = Route("/nowhere", "")

every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
every_path = pytest.mark.parametrize("route", [*ROUTES.values(), NOT_FOUND], ids=[*ROUTES, "404"])


def method_of(route: Route) -> str:
    """A method the route has, of those that do something."""
    return route.allow.partition(",")[0] or "GET"


async def ask(server: Server, route: Route, *, method: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    method = method or method_of(route)
    body = b'{"channel":"alerts","message":"hi"}' if method in ("POST", "PUT") else None
    return await request(server.port, method, route.path, headers=named, body=body)


def passed(answer: Answer) -> bool:
    """Whether the door let it in; what comes behind may be 426 or 404."""
    return answer.status not in (403, 421)


def test_every_route_has_its_row(app: Application) -> None:
    found = {
        rule.matcher.regex.pattern.removesuffix("$")  # type: ignore[attr-defined]
        for rule in app.wildcard_router.rules
    }
    assert found == ROUTES.keys()


# --- hosts ---


@every_path
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8888",
        "LOCALHOST",
        "app.localhost:1",
        "127.0.0.1:8888",
        "192.168.1.7",
        "[::1]:8888",
        "[::1]",
    ],
)
async def test_loopback_names_and_addresses_are_served(
    server: Server, route: Route, host: str
) -> None:
    assert passed(await ask(server, route, Host=host))


@every_path
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8888", "localhost.evil.example", "127.0.0.1.evil", "x"]
)
async def test_a_name_that_was_rebound_to_us_is_refused(
    server: Server, route: Route, host: str
) -> None:
    answer = await ask(server, route, Host=host)
    if route.strangers:
        assert passed(answer)
    else:
        assert (answer.status, "" if method_of(route) == "HEAD" else answer.code) == (421, 42101)
        # A page that has rebound its name is same-origin in the browser's eyes.
        answer = await ask(
            server, route, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin"
        )
        assert answer.status == 421


async def test_hosts_may_be_allowed_and_the_bound_one_is() -> None:
    async with serving(allowed_hosts=("push.example",), insecure=True) as server:
        route = ROUTES["/channels/([^/]+)/history"]
        for host in ("push.example", "PUSH.example:443", "push.example."):
            assert passed(await ask(server, route, Host=host))
        assert not passed(await ask(server, route, Host="other.example"))
    async with serving(allowed_hosts=("*",), insecure=True) as server:
        assert passed(await ask(server, route, Host="any.example"))


# --- origins ---


@every_path
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:8888", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "http://localhost"},  # a browser too old for Sec-Fetch-Site
    ],
)
async def test_programs_and_our_own_pages_are_let_in(
    server: Server, route: Route, headers: dict[str, str]
) -> None:
    answer = await request(server.port, method_of(route), route.path, headers=headers)
    assert passed(answer)


@every_path
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},  # a page from file://, or a sandboxed frame
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
async def test_pages_of_other_sites_are_refused(
    server: Server, route: Route, headers: dict[str, str]
) -> None:
    answer = await request(server.port, method_of(route), route.path, headers=headers)
    assert passed(answer) == route.strangers
    if not route.strangers:
        assert answer.code == 40301
    if method_of(route) == "POST":
        assert await stored_in(server.port, "alerts") == []


@every_route
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_handshake_from_another_site_is_refused_but_for_the_echo(
    server: Server, route: Route, origin: str
) -> None:
    if not route.socket:
        return
    answer = await request(server.port, "GET", route.path, headers={**HANDSHAKE, "Origin": origin})
    is_echo = route.path in ("/", "/echo")
    assert answer.status == (101 if is_echo else 403)


@every_path
async def test_a_link_on_another_site_leads_to_the_page_alone(server: Server, route: Route) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = await request(server.port, method_of(route), route.path, headers=headers)
    assert passed(answer) == (route.linked or route.strangers)
    # A form of theirs that is sent to us is no link.
    answer = await request(
        server.port,
        "POST",
        route.path,
        headers={**headers, "Origin": "https://evil.example"},
        body=b"message=spam",
    )
    assert passed(answer) == route.strangers


async def test_origins_may_be_allowed() -> None:
    headers = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    async with serving(allowed_origins=("https://friend.example",)) as server:
        answer = await request(server.port, "GET", "/ws", headers={**HANDSHAKE, **headers})
        assert answer.status == 101
        headers["Origin"] = "https://friend.example.evil.example"
        answer = await request(server.port, "GET", "/ws", headers={**HANDSHAKE, **headers})
        assert answer.status == 403


# --- methods ---


@every_route
@pytest.mark.parametrize("method", [*METHODS, "BREW"])
async def test_other_methods_are_405_with_those_there_are(
    server: Server, route: Route, method: str
) -> None:
    answer = await ask(server, route, method=method)
    if method in route.allow.split(", "):
        assert answer.status != 405
        return
    assert answer.status == 405
    assert answer.headers["allow"] == route.allow
    if method != "HEAD":
        assert answer.code == 40501
        assert answer.json["error"]["allow"] == route.allow.split(", ")


@every_route
async def test_options_tells_the_methods(server: Server, route: Route) -> None:
    answer = await ask(server, route, method="OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, route.allow)
    assert answer.body == b""
    assert "content-type" not in answer.headers


@every_route
async def test_head_is_get_without_the_body(server: Server, route: Route) -> None:
    if "HEAD" not in route.allow or route.endless:
        return
    await request(server.port, "POST", "/notify/alerts", body=b"so that there is such a channel")
    async with wire_to(server.port) as wire:
        path = route.path + route.wants
        await wire.send(request_head("HEAD", path) + request_head("GET", path))
        without = await wire.answer("HEAD")
        whole = await wire.answer()
        assert whole.body
        assert without.status == whole.status == 200
        for name in ("content-length", "content-type", "cache-control", "etag"):
            if route.lively and name in ("content-length", "etag"):
                continue
            assert without.headers.get(name) == whole.headers.get(name)


async def test_a_refusal_at_the_door_says_that_it_hangs_up(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(request_head("GET", "/nowhere"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert await wire.ended() == b""


@every_path
@pytest.mark.parametrize("method", METHODS)
async def test_every_answer_has_a_length_a_charset_and_no_server_name(
    server: Server, route: Route, method: str
) -> None:
    answer = await ask(server, route, method=method)
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status != 204:
        assert int(answer.headers["content-length"]) == len(answer.body) or method == "HEAD"
        kind = answer.headers["content-type"]
        assert "charset=utf-8" in kind.lower() or kind == "text/javascript"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")


# --- nothing there ---


@pytest.mark.parametrize(
    "path", ["/nowhere", "/notify/a/b", "/notify/", "/ws/", "/channels/", "//", "/%00", "/é"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_where_no_route_leads_is_404(server: Server, path: str, method: str) -> None:
    answer = await request(server.port, method, path)
    assert (answer.status, answer.code) == (404, 40401)


# --- faults of ours ---


async def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr(server.node, "history", broken)
    answer = await request(server.port, "GET", "/channels/a/history")
    assert (answer.status, answer.code) == (500, 50001)
    assert b"secret" not in answer.body
    assert "1234" in caplog.text


def test_what_tornado_raises_is_translated(app: Application, node: Node) -> None:
    handler = object()
    assert door.translate(handler, RuntimeError()).code == InternalError.code  # type: ignore[arg-type]
    assert door.translate(handler, HTTPError(418)).code == 40000  # type: ignore[arg-type]
    assert door.translate(handler, HTTPError(502)).code == 50001  # type: ignore[arg-type]
    assert isinstance(app, Application)


# --- static files ---


async def test_static_files_are_revalidated(server: Server) -> None:
    answer = await request(server.port, "GET", "/static/notifier.js")
    assert answer.status == 200
    assert answer.body == (static_path() / "notifier.js").read_bytes()
    assert answer.headers["content-type"].startswith("text/javascript")
    etag = answer.headers["etag"]
    again = await request(
        server.port, "GET", "/static/notifier.js", headers={"If-None-Match": etag}
    )
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert "server" not in again.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/../notifier/server.py",
        "/static/%2e%2e/setup.cfg",
        "/static/..%2fsetup.cfg",
        "/static/....//setup.cfg",
        "/static//etc/passwd",
        "/static/%2Fetc%2Fpasswd",
        "/static/%00",
        "/static/nothing.js",
        "/static/%FF",
        "/static/.",
        "/static/" + quote("é" * 300),
    ],
)
async def test_nothing_outside_the_static_folder_is_served(server: Server, path: str) -> None:
    answer = await request(server.port, "GET", path)
    assert (answer.status, answer.code) == (404, 40401)
    assert b"root" not in answer.body


@pytest.mark.parametrize("value", ["bytes=0-9", "bytes=-5", "bytes=999999999-", "rubbish"])
async def test_ranges_of_a_file_are_answered_or_refused(server: Server, value: str) -> None:
    answer = await request(server.port, "GET", "/static/app.js", headers={"Range": value})
    assert answer.status in (200, 206, 416)


# --- what no HTTP client sends ---


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x16\x03\x01\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /notify/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /notify/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST /notify/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /notify/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /notify/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET ftp://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_no_http_ends_its_own_connection_alone(
    server: Server, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(garbage)
        first = await wire.reader.readline()
        assert re.match(rb"HTTP/1.1 4\d\d |$", first), first
    assert (await request(server.port, "GET", "/health/live")).status == 200
    assert "Traceback" not in caplog.text


async def test_an_old_client_without_a_host_is_served(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert (await wire.answer()).status == 200
        assert await wire.ended() == b""


def test_every_handler_answers_for_itself(app: Application) -> None:
    for rule in app.wildcard_router.rules:
        assert issubclass(rule.target, RequestHandler)
        assert "node" in rule.target_kwargs
        assert "policy" in rule.target_kwargs
