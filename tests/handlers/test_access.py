"""Who may do what: everybody, everything, on every kind of channel, over every transport."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from handlers.policy import Level
from handlers.routes import routes
from notifier.assets import static_path
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.node import Node
from notifier.notification import Notification
from tests.auth.signing import SECRET, jwk, jwks, private, token
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    RawSocket,
    head,
    open_stream,
    raw_socket,
    request,
    serving,
)
from tests.handlers.test_keysource import answering, http

T = TypeVar("T")

ALLOWED, WHO_ARE_YOU, NOT_YOU = 0, 40100, 40302

# Everybody there is; what they were granted is granted on builds:*.
KEYS = {
    "producer": {Scope.PUBLISH},
    "reader": {Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE},
    "scraper": {Scope.METRICS},
    "admin": {Scope.ADMIN},
}
TOKENS = {
    "listener": {"sub": "42", "channels": ["builds:*"]},
    "writer": {"sub": "43", "channels": ["builds:*"], "publish": True},
    "stranger": {"sub": "44"},
}
EVERYBODY = {"nobody", *KEYS, *TOKENS}
READERS = {"reader", "listener", "writer"}

# A channel of each kind, and who may do what there.
CHANNELS: dict[str, dict[Scope, set[str]]] = {
    "builds:1": {
        Scope.PUBLISH: {"producer", "writer"},
        Scope.SUBSCRIBE: READERS,
        Scope.HISTORY: READERS,
        Scope.PRESENCE: READERS,
    },
    "alerts": {scope: set() for scope in Scope},
    "open:1": dict.fromkeys(Scope, EVERYBODY),
    "members:1": {scope: set(TOKENS) for scope in Scope},
    "quiet:1": {**dict.fromkeys(Scope, EVERYBODY), Scope.PRESENCE: set()},
    "user:42": {
        Scope.PUBLISH: set(),
        Scope.SUBSCRIBE: {"listener"},
        Scope.HISTORY: {"listener"},
        Scope.PRESENCE: {"listener"},
    },
}
RULES = ("publish", "subscribe", "read_history", "see_presence")
SETTINGS = {
    "token_secret": SECRET,
    "token_cookie": "session",
    "presence": True,
    "namespaces": {
        "open": {f"who_may_{deed}": "public" for deed in RULES},
        "quiet": {f"who_may_{deed}": "public" for deed in RULES[:3]},
        "members": {f"who_may_{deed}": "authenticated" for deed in RULES},
    },
}


ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


@dataclass(frozen=True)
class Guarded:
    """A server that asks, and what everybody shows it.

    :ivar signed: by everybody with a token, in each algorithm.
    """

    port: int
    shown: dict[str, str | None]
    signed: dict[str, dict[str, str]]


@asynccontextmanager
async def guarding(folder: Path) -> AsyncIterator[Guarded]:
    file = KeyFile(folder / "keys.toml")
    shown: dict[str, str | None] = {"nobody": None}
    for name, scopes in KEYS.items():
        channels = Reach.of(["builds:*"] if scopes & OF_CHANNELS else [])
        key, text = make_key(name, scopes=scopes, channels=channels, created=time.time())
        file.add(key)
        shown[name] = text
    end = time.time() + 3600
    signed = {
        algorithm: {
            name: token({**claims, "exp": end}, algorithm, headers={"kid": algorithm})
            for name, claims in TOKENS.items()
        }
        for algorithm in ALGORITHMS
    }
    shown |= signed["HS256"]
    fetched = jwks(*(jwk(private(name), name, kid=name) for name in ALGORITHMS[1:]))
    async with (
        answering(http(fetched)) as url,
        serving(keys_file=str(file.path), token_jwks_url=url, **SETTINGS) as server,
    ):
        for channel in CHANNELS:
            there = Notification.of_payload("something is there")
            await server.node.publish(there, channel, producer="")
        yield Guarded(server.port, shown, signed)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One for all, on a loop of its own: what is asked here changes nothing that others ask."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="guarded")
    thread.start()
    stack = AsyncExitStack()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    try:
        yield run(stack.enter_async_context(guarding(tmp_path_factory.mktemp("keys"))))
    finally:
        run(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


class Visitor:
    """Somebody at a server, and all that can be tried there."""

    def __init__(
        self, port: int, credential: str | None, show: str = "Authorization: Bearer {}"
    ) -> None:
        """
        :param show: how it is shown: a header, or one of SPECIAL.
        """
        self.port = port
        self._credential = credential
        self._show = show
        self.headers: dict[str, str] = {}
        if credential is not None and show not in SPECIAL:
            name, _, value = show.partition(": ")
            if value.startswith("Basic "):
                text = value.removeprefix("Basic ").format(credential)
                value = "Basic " + base64.b64encode(text.encode()).decode()
            self.headers = {name: value.format(credential)}

    async def _with_ticket(self, path: str) -> str:
        """The path, with a fresh one if that is how it is shown."""
        if self._show != TICKET:
            return path
        headers = {"Authorization": f"Bearer {self._credential}"}
        made = await request(self.port, "POST", "/ticket", body=b"", headers=headers)
        return f"{path}{'&' if '?' in path else '?'}ticket={made.json['ticket']}"

    async def ask(self, method: str, path: str, body: bytes | None = None, **more: str) -> int:
        path = await self._with_ticket(path)
        answer = await request(self.port, method, path, body=body, headers={**self.headers, **more})
        if method == "HEAD":  # has no body to tell a code in
            return {200: ALLOWED, 401: WHO_ARE_YOU, 403: NOT_YOU}[answer.status]
        return _told(answer.body) if answer.status == 200 else answer.code

    async def begin(self, path: str) -> int:
        """An answer without an end: whether it begins."""
        reader, writer = await open_stream(self.port)
        try:
            writer.write(head("GET", await self._with_ticket(path), self.headers))
            begun = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if " 200 " in begun.splitlines()[0]:
                return ALLOWED
            size = int(begun.partition("content-length:")[2].split()[0])
            return _told(await reader.readexactly(size))
        finally:
            writer.close()

    async def command(self, message: dict[str, object]) -> int:
        """On a WebSocket without a word in its URL."""
        return await self.talk("/ws", message)

    async def talk(self, path: str, message: dict[str, object] | None = None) -> int:
        reader, writer = await open_stream(self.port)
        socket = RawSocket(reader, writer)
        try:
            answer = await socket.upgrade(await self._with_ticket(path), self.headers)
            if answer.status != 101:
                return answer.code or answer.status
            assert (await socket.message())["type"] == "welcome"
            if self._show == IN_BAND:
                renewed = await socket.ask({"type": "authenticate", "token": self._credential})
                assert renewed["type"] == "reply"
            said = await (socket.message() if message is None else socket.ask(message))
            return int(said["code"]) if said["type"] == "error" else ALLOWED
        finally:
            socket.close()

    async def payloads(self, channel: str, sent: bytes | None) -> int:
        """On ``/raw``; what is sent comes back where it may be published."""
        reader, writer = await open_stream(self.port)
        socket = RawSocket(reader, writer)
        try:
            path = await self._with_ticket(f"/raw/{channel}")
            answer = await socket.upgrade(path, self.headers)
            if answer.status != 101:
                return answer.code or answer.status
            if sent is None:
                return ALLOWED
            await socket.say(sent.decode())
            opcode, payload = await socket.frame()
            while opcode == 9:
                opcode, payload = await socket.frame()
            if opcode != 8:
                return ALLOWED
            assert int.from_bytes(payload[:2]) == 4503
            return NOT_YOU if self.headers else WHO_ARE_YOU
        finally:
            socket.close()


def _told(body: bytes) -> int:
    """The code of the first refusal in an answer."""
    for line in body.splitlines():
        value = json.loads(line)
        for item in value if isinstance(value, list) else [value]:
            failures = item.get("failures") or item.get("channels") or [item]
            for failure in failures if isinstance(failures, list) else []:
                if isinstance(failure, dict) and "error" in failure:
                    return int(failure["error"]["code"])
    return ALLOWED


async def refused_in_207(visitor: Visitor, channel: str, body: object) -> int:
    """A batch is answered for each of its items."""
    answer = await request(
        visitor.port,
        "POST",
        "/notify",
        body=json.dumps(body).encode(),
        headers={**visitor.headers, "Content-Type": "application/json"},
    )
    return _told(answer.body) if answer.status in (200, 207) else answer.code or answer.status


async def lines(visitor: Visitor, channel: str) -> int:
    answer = await request(
        visitor.port,
        "POST",
        "/notify",
        body=json.dumps({"channel": channel, "message": "x"}).encode() + b"\n",
        headers={**visitor.headers, "Content-Type": "application/x-ndjson"},
    )
    return _told(answer.body) if answer.status in (200, 207) else answer.code or answer.status


Deed = Callable[[Visitor, str], Awaitable[int]]
PUBLISH: dict[str, Deed] = {
    "POST to the channel": lambda v, c: v.ask("POST", f"/notify/{c}", b"hi"),
    "PUT to the channel": lambda v, c: v.ask("PUT", f"/notify/{c}", b"hi"),
    "POST of JSON": lambda v, c: v.ask(
        "POST", "/notify", json.dumps({"channel": c, "message": "x"}).encode()
    ),
    "POST of an array": lambda v, c: refused_in_207(v, c, [{"channel": c, "message": "x"}]),
    "POST to several": lambda v, c: refused_in_207(v, c, {"channels": [c], "message": "x"}),
    "a line of NDJSON": lines,
    "a WebSocket's command": lambda v, c: v.command(
        {"type": "publish", "channel": c, "message": "x"}
    ),
}
SUBSCRIBE: dict[str, Deed] = {
    "a WebSocket by its URL": lambda v, c: v.talk(f"/ws?channel={c}"),
    "a WebSocket's command": lambda v, c: v.command({"type": "subscribe", "channel": c}),
    "payloads": lambda v, c: v.payloads(c, None),
    "server-sent events": lambda v, c: v.begin(f"/events?channel={c}"),
    "several at once": lambda v, c: v.begin(f"/events?channel=open:2&channel={c}"),
    "lines": lambda v, c: v.begin(f"/stream?channel={c}"),
    "a poll": lambda v, c: v.ask("GET", f"/stream?poll=1&channel={c}"),
    "a look at the channel": lambda v, c: v.ask("GET", f"/channels/{c}"),
    "a list of channels": lambda v, c: v.ask("GET", f"/channels?pattern={c}*"),
}
HISTORY: dict[str, Deed] = {
    "GET": lambda v, c: v.ask("GET", f"/channels/{c}/history"),
    "HEAD": lambda v, c: v.ask("HEAD", f"/channels/{c}/history"),
    "a WebSocket's command": lambda v, c: v.command({"type": "history", "channel": c}),
}
PRESENCE: dict[str, Deed] = {
    "GET": lambda v, c: v.ask("GET", f"/channels/{c}/presence"),
    "a WebSocket's command": lambda v, c: v.command({"type": "presence", "channel": c}),
    "a WebSocket's subscription": lambda v, c: v.command(
        {"type": "subscribe", "channel": c, "presence": True}
    ),
    "a WebSocket by its URL": lambda v, c: v.talk(f"/ws?presence=1&channel={c}"),
    "server-sent events": lambda v, c: v.begin(f"/events?presence=1&channel={c}"),
    "lines": lambda v, c: v.begin(f"/stream?presence=1&channel={c}"),
}

DEEDS: dict[Scope, dict[str, Deed]] = {
    Scope.PUBLISH: PUBLISH,
    Scope.SUBSCRIBE: SUBSCRIBE,
    Scope.HISTORY: HISTORY,
    Scope.PRESENCE: PRESENCE,
}
ABOUT_CHANNELS = [
    pytest.param(scope, deed, channel, id=f"{scope}-{name}-{channel}")
    for scope, deeds in DEEDS.items()
    for name, deed in deeds.items()
    for channel in CHANNELS
    # Their names begin alike, and what a pattern reaches is another matter.
    if not (name == "a list of channels" and channel in ("alerts", "user:42"))
]
# What is about the node as a whole, with the scope it takes.
ABOUT_THE_NODE = {
    ("GET", "/nodes"): Scope.ADMIN,
    ("GET", "/metrics"): Scope.METRICS,
    ("GET", "/settings"): Scope.ADMIN,
    ("GET", "/connections"): Scope.ADMIN,
    ("DELETE", "/connections"): Scope.ADMIN,
    ("GET", "/revocations"): Scope.ADMIN,
    ("POST", "/revocations"): Scope.ADMIN,
    ("DELETE", "/connections/x"): Scope.ADMIN,
    ("DELETE", "/connections/x/subscriptions/alerts"): Scope.ADMIN,
    ("DELETE", "/channels/open:1/history"): Scope.ADMIN,
}
FOR_EVERYBODY = ("/", "/static/app.js", "/health/live", "/health/ready", "/openapi.json")


def expected(who: str, allowed: set[str]) -> int:
    return ALLOWED if who in allowed else WHO_ARE_YOU if who == "nobody" else NOT_YOU


@pytest.mark.parametrize(("scope", "deed", "channel"), ABOUT_CHANNELS)
async def test_channels(guarded: Guarded, scope: Scope, deed: Deed, channel: str) -> None:
    shown = guarded.shown
    found = {who: await deed(Visitor(guarded.port, shown[who]), channel) for who in shown}
    wanted = {who: expected(who, CHANNELS[channel][scope]) for who in shown}
    assert found == wanted


# How a credential may be shown, besides as a bearer's.
TICKET, IN_BAND = "a ticket in the URL", "a command on an open WebSocket"
SPECIAL = (TICKET, IN_BAND)
WAYS = (
    "Authorization: Basic anybody:{}",
    "X-API-Key: {}",
    "Cookie: theme=dark; session={}",
    "Sec-WebSocket-Protocol: notifier.v1, bearer.{}",
)
# What takes a ticket: those that begin with a GET that a browser makes by itself.
TAKE_A_TICKET = {
    "a WebSocket by its URL", "payloads", "server-sent events", "several at once", "lines", "a poll"
}  # fmt: skip


def ways() -> Iterator[Any]:
    """Every deed, with every way to show who one is that goes there."""
    shows = [("HS256", show) for show in WAYS]
    shows += [(algorithm, "Authorization: Bearer {}") for algorithm in ALGORITHMS[1:]]
    shows += [("ES256", show) for show in (*WAYS[2:], *SPECIAL)]
    for algorithm, show in shows:
        for scope, deeds in DEEDS.items():
            for name in deeds:
                if show == TICKET and name not in TAKE_A_TICKET:
                    continue
                if show == IN_BAND and not (name.startswith("a WebSocket's")):
                    continue
                yield pytest.param(
                    algorithm, show, scope, name, id=f"{algorithm}-{show}-{scope}-{name}"
                )


@pytest.mark.parametrize(("algorithm", "show", "scope", "name"), list(ways()))
async def test_tokens_of_every_kind_however_they_are_shown(
    guarded: Guarded, algorithm: str, show: str, scope: Scope, name: str
) -> None:
    """Those that are fetched are found at a URL, by a server of its own."""
    tokens = guarded.signed[algorithm]
    visitors = {who: Visitor(guarded.port, tokens[who], show) for who in tokens}
    for channel in ("builds:1", "user:42"):
        if (name, channel) == ("a list of channels", "user:42"):
            continue  # what a pattern reaches is another matter
        found = {
            who: await DEEDS[scope][name](visitor, channel) for who, visitor in visitors.items()
        }
        assert found == {who: expected(who, CHANNELS[channel][scope]) for who in tokens}, channel


@pytest.mark.parametrize("show", WAYS)
@pytest.mark.parametrize(
    ("scope", "deed"),
    [
        pytest.param(scope, deed, id=f"{scope}-{name}")
        for scope, deeds in DEEDS.items()
        for name, deed in deeds.items()
    ],
)
async def test_keys_however_they_are_shown(
    guarded: Guarded, show: str, scope: Scope, deed: Deed
) -> None:
    visitors = {who: Visitor(guarded.port, guarded.shown[who], show) for who in KEYS}
    found = {who: await deed(visitor, "builds:1") for who, visitor in visitors.items()}
    assert found == {who: expected(who, CHANNELS["builds:1"][scope]) for who in KEYS}


async def test_payloads_are_published_by_who_may(
    guarded: Guarded,
) -> None:
    """Who may not listen gets no connection, so only who may listen can try."""
    shown = guarded.shown
    for channel, rules in CHANNELS.items():
        both = rules[Scope.PUBLISH] & rules[Scope.SUBSCRIBE]
        for who, credential in shown.items():
            found = await Visitor(guarded.port, credential).payloads(channel, b"hi")
            assert found == expected(who, both), (channel, who)


# How a body that may be for many channels is announced; none of it is sent.
BODIES = [
    {"Content-Type": kind, **length}
    for kind in ("application/json", "application/x-ndjson", "text/plain", "image/png")
    for length in ({"Content-Length": "100000"}, {"Transfer-Encoding": "chunked"})
]


@pytest.mark.parametrize("credential", [None, "rubbish"])
async def test_who_shows_nothing_good_is_refused_before_the_body(
    tmp_path: Path, credential: str | None
) -> None:
    """On every route that is about channels, where nobody may anything on any without."""
    headers = Visitor(0, credential).headers
    bearer, basic = 'Bearer realm="notifier"', 'Basic realm="notifier"'
    told = (401, WHO_ARE_YOU, f"{bearer}, {basic}")
    if credential is not None:
        told = (401, 40101, f'{bearer}, error="invalid_token", {basic}')
    KeyFile(tmp_path / "keys.toml").add(
        make_key("ci", scopes={Scope.PUBLISH}, channels=Reach.of(["*"]), created=time.time())[0]
    )
    async with serving(keys_file=str(tmp_path / "keys.toml")) as server:
        tried = set()
        for route in routes(server.node, static_path()):
            for method, need in route.policy.needs.items():
                if need not in DEEDS or (route.policy.late and credential is None):
                    continue
                tried.add(route.path)
                path = route.path.replace("{channel}", "builds:1")
                for body in BODIES if method in ("POST", "PUT") else [HANDSHAKE]:
                    answer = await request(server.port, method, path, headers={**headers, **body})
                    shown = answer.headers["www-authenticate"]
                    assert (answer.status, answer.code, shown) == told, (method, path, body)
        assert {"/notify", "/notify/{channel}", "/events", "/stream", "/channels"} <= tried
        assert sum(server.node.counts.intakes["http"].refused.values()) == 0


@pytest.mark.parametrize(
    "command",
    [
        {"type": "publish", "channel": "x", "message": "x"},
        {"type": "publish", "channels": ["x", "y"], "message": "x"},
        {"type": "subscribe", "channel": "x"},
    ],
)
async def test_a_websocket_may_say_later_who_it_is_and_may_nothing_until_then(
    tmp_path: Path, command: dict[str, object]
) -> None:
    key, text = make_key("all", scopes=set(Scope), channels=Reach.of(["*"]), created=time.time())
    KeyFile(tmp_path / "keys.toml").add(key)
    async with serving(keys_file=str(tmp_path / "keys.toml")) as server:
        assert await Visitor(server.port, None).command(command) == WHO_ARE_YOU
        async with raw_socket(server.port) as socket:
            assert (await socket.ask({"type": "authenticate", "token": text}))["type"] == "reply"
            assert (await socket.ask(command))["type"] in ("reply", "subscribed")


async def test_who_may_somewhere_is_told_of_each_item(guarded: Guarded) -> None:
    items = [{"channel": channel, "message": "x"} for channel in ("open:1", "alerts")]
    for kind, body in (
        ("application/json", json.dumps(items).encode()),
        ("application/x-ndjson", b"\n".join(json.dumps(item).encode() for item in items)),
    ):
        answer = await request(
            guarded.port, "POST", "/notify", body=body, headers={"Content-Type": kind}
        )
        assert (answer.status, _told(answer.body)) == (207, WHO_ARE_YOU)


@pytest.mark.parametrize(("method", "path"), ABOUT_THE_NODE)
async def test_the_node(guarded: Guarded, method: str, path: str) -> None:
    shown = guarded.shown
    scope = ABOUT_THE_NODE[method, path]
    allowed = {who for who, scopes in KEYS.items() if scope in scopes}
    for who, credential in shown.items():
        answer = await request(
            guarded.port, method, path, headers=Visitor(guarded.port, credential).headers
        )
        # What is not there, or lacks what it is about, was let in.
        found = ALLOWED if answer.status in (200, 400, 404) else answer.code
        assert found == expected(who, allowed), who


@pytest.mark.parametrize("path", FOR_EVERYBODY)
async def test_what_is_for_everybody_asks_nobody(guarded: Guarded, path: str) -> None:
    answer = await request(guarded.port, "GET", path, headers={"Authorization": "Bearer rubbish"})
    assert answer.status == 200


async def test_the_echo_is_for_everybody(guarded: Guarded) -> None:
    answer = await request(guarded.port, "GET", "/echo", headers=HANDSHAKE)
    assert answer.status == 101


async def test_a_ticket_is_for_who_is_known(
    guarded: Guarded,
) -> None:
    shown = guarded.shown
    for who, credential in shown.items():
        visitor = Visitor(guarded.port, credential)
        answer = await request(guarded.port, "POST", "/ticket", headers=visitor.headers, body=b"")
        assert answer.status == (401 if who == "nobody" else 200), who


def test_every_method_of_every_route_is_tried_here(node: Node) -> None:
    """A route that is added has its row, or this fails."""
    tried = {
        ("POST", "/notify"), ("POST", "/notify/{channel}"), ("PUT", "/notify/{channel}"),
        ("GET", "/ws"), ("GET", "/raw/{channel}"), ("GET", "/events"), ("GET", "/stream"),
        ("GET", "/channels"), ("GET", "/channels/{channel}"),
        ("GET", "/channels/{channel}/history"), ("GET", "/channels/{channel}/presence"),
        ("POST", "/ticket"), ("GET", "/echo"), ("GET", "/static/{file*}"),
    }  # fmt: skip
    tried |= {("GET", path) for path in FOR_EVERYBODY if "static" not in path}
    tried |= {
        (method, path.replace("/x", "/{connection}").replace("alerts", "{channel}")
         .replace("open:1", "{channel}"))
        for method, path in ABOUT_THE_NODE
    }  # fmt: skip
    table = routes(node, static_path())
    assert {(m, route.path) for route in table for m in route.policy.needs} == tried
    for route in table:
        for method, need in route.policy.needs.items():
            public = route.path in ("/echo", "/static/{file*}") or route.path in FOR_EVERYBODY
            assert (need is Level.PUBLIC) == public, (method, route.path)
