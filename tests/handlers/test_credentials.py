"""The ways to show who one is, and when that ends."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, build_opener

import pytest

from handlers.longbody import LongBody
from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.notification import Notification
from notifier.server import Server
from tests.auth.signing import SECRET
from tests.handlers.serving import (
    PATIENCE,
    head,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)

HISTORY = "/channels/alerts/history"


def token(sub: str = "42", channels: tuple[str, ...] = ("alerts",), **claims: Any) -> str:
    return make_token(
        {"sub": sub, "channels": list(channels), "exp": time.time() + 600} | claims,
        signing_secret(SECRET),
    )


@dataclass
class Guarded:
    server: Server
    file: KeyFile
    key: str

    @property
    def port(self) -> int:
        return self.server.port


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    file = KeyFile(tmp_path / "keys.toml")
    key, text = make_key(
        "app",
        scopes={Scope.HISTORY, Scope.SUBSCRIBE},
        channels=Reach.of(["alerts"]),
        created=time.time(),
    )
    file.add(key)
    async with serving(
        keys_file=str(file.path), token_secret=SECRET, token_cookie="session"
    ) as server:
        await server.node.publish(Notification.of_payload("x"), "alerts", producer="")
        yield Guarded(server, file, text)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("what", ["key", "token"])
@pytest.mark.parametrize(
    "way",
    ["Bearer {}", "bearer   {}", "X-API-Key", "Basic :{}", "Basic anybody:{}", "Basic {}:",
     "cookie", "protocol"],
)  # fmt: skip
async def test_a_credential_is_taken_however_it_comes(
    guarded: Guarded, way: str, what: str
) -> None:
    shown = guarded.key if what == "key" else token()
    headers = {
        "X-API-Key": {"X-API-Key": shown},
        "cookie": {"Cookie": f"theme=dark; session={shown}; a=b"},
        "protocol": {"Sec-WebSocket-Protocol": f"notifier.v1, bearer.{shown}"},
    }.get(way)
    if headers is None and way.startswith("Basic"):
        headers = {"Authorization": basic(way.removeprefix("Basic ").format(shown))}
    answer = await request(
        guarded.port, "GET", HISTORY, headers=headers or {"Authorization": way.format(shown)}
    )
    assert answer.status == 200, answer


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 40100),
        ({"Authorization": "Bearer nk_mistyped"}, 40101),
        ({"Authorization": "Bearer"}, 40101),
        ({"Authorization": "Bearer " + "x" * 9000}, 40101),
        ({"Authorization": "Basic not base64"}, 40101),
        ({"Authorization": "Digest username=x"}, 40101),
        ({"Authorization": basic("")}, 40101),
        ({"Authorization": "Basic \u00e9"}, 40101),
        ({"Authorization": "Basic /////w=="}, 40101),
        ({"X-API-Key": ""}, 40101),
        ({"Cookie": "session=rubbish"}, 40101),
        ({"Cookie": "session"}, 40100),
        ({"Cookie": "other=x"}, 40100),
        ({"Sec-WebSocket-Protocol": "bearer."}, 40101),
    ],
)
async def test_what_is_none_is_refused(
    guarded: Guarded, headers: dict[str, str], code: int
) -> None:
    answer = await request(guarded.port, "GET", HISTORY, headers=headers)
    assert (answer.status, answer.code) == (401, code)


@pytest.mark.parametrize("other", ["theme[x]=1", 'prefs={"a": 1}', "note=hello world", "=", "x"])
async def test_other_applications_cookies_hide_ours_from_nobody(
    guarded: Guarded, other: str
) -> None:
    cookies = f"{other}; session={token()}; {other}"
    answer = await request(guarded.port, "GET", HISTORY, headers={"Cookie": cookies})
    assert answer.status == 200


async def test_a_body_that_comes_after_the_end_of_its_token_is_refused(guarded: Guarded) -> None:
    writer = token(publish=True, exp=time.time() + 1)
    headers = {"Authorization": f"Bearer {writer}", "Content-Length": "2"}
    async with wire_to(guarded.port) as wire:
        await wire.send(head("POST", "/notify/alerts", headers))
        await asyncio.sleep(1.2)
        await wire.send(b"hi")
        assert (await wire.answer()).code == 40102


async def test_bodies_that_are_refused_are_forgotten(guarded: Guarded) -> None:
    for _ in range(20):
        answer = await request(
            guarded.port,
            "POST",
            "/notify/alerts",
            body=b"{}\n",
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.code == 40100

    def forgotten() -> bool:
        gc.collect()
        return not any(isinstance(kept, LongBody) for kept in gc.get_objects())

    await until(forgotten)


async def test_what_is_said_for_the_request_wins_over_a_cookie(guarded: Guarded) -> None:
    headers = {"Cookie": f"session={token()}", "Authorization": "Bearer rubbish"}
    answer = await request(guarded.port, "GET", HISTORY, headers=headers)
    assert answer.code == 40101


async def test_a_body_is_refused_before_it_is_read(guarded: Guarded) -> None:
    """Who may not publish is told at once, however long the rest would take."""
    answer = await asyncio.wait_for(
        request(
            guarded.port,
            "POST",
            "/notify/alerts",
            headers={"Content-Length": "1000000", "Authorization": f"Bearer {token()}"},
        ),
        PATIENCE,
    )
    assert answer.code == 40302


async def test_the_subprotocol_with_the_token_is_never_echoed(guarded: Guarded) -> None:
    offered = {"Sec-WebSocket-Protocol": f"bearer.{token()}, notifier.v1"}
    async with raw_socket(guarded.port, "/ws?channel=alerts", offered) as socket:
        assert (await socket.message())["type"] == "subscribed"


async def test_a_ticket_is_good_once(guarded: Guarded) -> None:
    made = await request(
        guarded.port, "POST", "/ticket", body=b"", headers={"X-API-Key": guarded.key}
    )
    assert made.json["expires_in"] == 30
    path = f"/stream?channel=alerts&poll=1&ticket={made.json['ticket']}"
    assert (await request(guarded.port, "GET", path)).status == 200
    assert (await request(guarded.port, "GET", path)).code == 40101


async def ticket_of(guarded: Guarded) -> str:
    shown = {"X-API-Key": guarded.key}
    made = await request(guarded.port, "POST", "/ticket", body=b"", headers=shown)
    return str(made.json["ticket"])


@pytest.mark.parametrize("path", ["/stream?channel=alerts&poll=1", "/events?channel=alerts"])
async def test_head_tells_what_get_would_and_leaves_the_ticket(guarded: Guarded, path: str) -> None:
    ticket = await ticket_of(guarded)
    for _ in range(2):
        answer = await request(guarded.port, "HEAD", f"{path}&ticket={ticket}")
        assert answer.status == 200
    async with wire_to(guarded.port) as wire:
        await wire.send(head("GET", f"{path}&ticket={ticket}", {}))
        assert b" 200 " in await wire.reader.readline()
    assert (await request(guarded.port, "HEAD", f"{path}&ticket={ticket}")).status == 401
    assert (await request(guarded.port, "GET", f"{path}&ticket={ticket}")).code == 40101


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", HISTORY + "?"),
        ("POST", "/notify/alerts?"),
        ("POST", "/ticket?"),
        ("POST", "/stream?channel=alerts&"),
        ("OPTIONS", "/stream?channel=alerts&"),
        ("HEAD", "/ws?channel=alerts&"),
        ("GET", "/connections?"),
        ("GET", "/health/live?"),
        ("GET", "/nowhere?"),
    ],
)
async def test_what_takes_no_ticket_uses_none_up(guarded: Guarded, method: str, path: str) -> None:
    ticket = await ticket_of(guarded)
    await request(guarded.port, method, f"{path}ticket={ticket}", body=b"")
    if path.startswith((HISTORY, "/notify", "/ticket", "/conn")):
        refused = await request(guarded.port, method, f"{path}ticket={ticket}", body=b"")
        assert refused.code == 40101
    taken = await request(guarded.port, "GET", f"/stream?channel=alerts&poll=1&ticket={ticket}")
    assert taken.status == 200


async def test_a_get_that_is_refused_uses_its_ticket_up(guarded: Guarded) -> None:
    ticket = await ticket_of(guarded)
    path = f"/stream?channel=alerts&poll=1&ticket={ticket}"
    refused = await request(guarded.port, "GET", f"{path}&since=never")
    assert refused.code == 40005
    assert (await request(guarded.port, "GET", path)).code == 40101


@pytest.mark.parametrize("what", ["key", "token", "rubbish"])
async def test_nothing_but_a_ticket_is_taken_in_a_url(guarded: Guarded, what: str) -> None:
    shown = {"key": guarded.key, "token": token(), "rubbish": "ticket_x"}[what]
    answer = await request(guarded.port, "GET", f"/stream?channel=alerts&poll=1&ticket={shown}")
    assert (answer.status, answer.code) == (401, 40101)


async def test_a_connection_ends_with_its_token(guarded: Guarded) -> None:
    soon = {"Authorization": f"Bearer {token(exp=time.time() + 1.5)}"}
    async with raw_socket(guarded.port, "/ws?channel=alerts", soon) as socket:
        assert (await socket.message())["type"] == "subscribed"
        assert (await socket.closed())[0] == 4401


async def test_a_stream_ends_with_its_token(guarded: Guarded) -> None:
    soon = {"Authorization": f"Bearer {token(exp=time.time() + 1.5)}"}
    async with asyncio.timeout(PATIENCE):
        answer = await request(guarded.port, "GET", "/stream?channel=alerts", headers=soon)
    last = json.loads(answer.body.splitlines()[-1])
    assert (last["type"], last["code"]) == ("error", 40102)


async def test_event_source_comes_back_soon_when_its_token_is_over(guarded: Guarded) -> None:
    """The cookie it came with may have been renewed meanwhile."""
    soon = {"Authorization": f"Bearer {token(exp=time.time() + 1.5)}"}
    async with asyncio.timeout(PATIENCE):
        answer = await request(guarded.port, "GET", "/events?channel=alerts", headers=soon)
    assert b"event: refused\n" in answer.body and b"40102" in answer.body
    waits = [int(line[6:]) for line in answer.body.splitlines() if line.startswith(b"retry:")]
    assert waits and max(waits) < 10_000


async def test_a_fresh_token_keeps_a_connection(guarded: Guarded) -> None:
    soon = {"Authorization": f"Bearer {token(exp=time.time() + 1.5)}"}
    async with raw_socket(guarded.port, "/ws?channel=alerts", soon) as socket:
        await socket.message()
        fresh = {"type": "authenticate", "token": token(), "ref": 1}
        answer = await socket.ask(fresh)
        assert (answer["type"], answer["ref"], answer["result"]["name"]) == ("reply", 1, "42")
        await asyncio.sleep(2.5)  # the first one's end, and the sweep after it
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"


async def test_what_a_fresh_token_does_not_grant_ends(guarded: Guarded) -> None:
    first = {"Authorization": f"Bearer {token(channels=('alerts', 'builds:*'))}"}
    async with raw_socket(guarded.port, "/ws?channel=alerts&channel=builds:*", first) as socket:
        for _ in range(2):
            assert (await socket.message())["type"] == "subscribed"
        await socket.say({"type": "authenticate", "token": token(channels=("alerts",))})
        ended, reply = await socket.message(), await socket.message()
        assert (ended["type"], ended["channel"], ended["code"]) == (
            "unsubscribed", "builds:*", 40302,
        )  # fmt: skip
        assert reply["result"]["grants"]["subscribe"] == ["alerts"]


async def test_who_was_nobody_may_be_somebody_from_then_on(guarded: Guarded) -> None:
    async with raw_socket(guarded.port) as socket:
        wanted = {"type": "subscribe", "channel": "alerts"}
        assert (await socket.ask(wanted))["code"] == 40100
        assert (await socket.ask({"type": "authenticate", "token": "rubbish"}))["code"] == 40101
        assert (await socket.ask({"type": "authenticate", "token": token()}))["type"] == "reply"
        assert (await socket.ask(wanted))["type"] == "subscribed"


async def test_too_long_a_token_is_none_of_ours_wherever_it_is_shown(guarded: Guarded) -> None:
    long = "x" * 20_000
    headers = {"Authorization": f"Bearer {long}"}
    answer = await request(guarded.port, "GET", "/channels/alerts", headers=headers)
    told = answer.json["error"]
    assert told["code"] == 40101
    async with raw_socket(guarded.port) as socket:
        error = await socket.ask({"type": "authenticate", "token": long})
        assert (error["code"], error["message"]) == (40101, told["message"])
        for none in ("", None, 7):
            assert (await socket.ask({"type": "authenticate", "token": none}))["code"] == 40003


async def test_a_revoked_key_is_out_and_so_are_its_connections(guarded: Guarded) -> None:
    shown = {"X-API-Key": guarded.key}
    async with raw_socket(guarded.port, "/ws?channel=alerts", shown) as socket:
        assert (await socket.message())["type"] == "subscribed"
        guarded.file.remove("app")
        assert (await socket.closed())[0] == 4503
        answer = await request(guarded.port, "GET", HISTORY, headers=shown)
        assert answer.code == 40101


@pytest.mark.parametrize("left", [b"", b" \n\n", b"# API keys of not", b"[[key]]\nname = "])
async def test_a_keys_file_that_was_emptied_or_cut_revokes_nobody(
    guarded: Guarded, left: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server, path = guarded.server, guarded.file.path
    shown = {"X-API-Key": guarded.key}
    whole = path.read_bytes()
    assert not server.node.state().api_keys_trouble
    async with raw_socket(guarded.port, "/ws?channel=alerts", shown) as socket:
        assert (await socket.message())["type"] == "subscribed"
        path.write_bytes(left)
        await until(lambda: server.node.state().api_keys_trouble)
        server.reload()
        assert server.node.state().api_keys_trouble
        # Once by itself, and once because SIGHUP asks.
        assert caplog.messages.count("keys.unusable") == 2
        assert (await request(guarded.port, "GET", HISTORY, headers=shown)).status == 200
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"
        path.write_bytes(whole)
        await until(lambda: not server.node.state().api_keys_trouble)
        guarded.file.remove("app")  # the last: nobody has a key now
        assert (await socket.closed(answer=True))[0] == 4503
    assert (await request(guarded.port, "GET", HISTORY, headers=shown)).code == 40101
    assert not server.node.state().api_keys_trouble


async def test_a_body_without_end_ends_with_its_key(guarded: Guarded) -> None:
    key, text = make_key(
        "pipe", scopes={Scope.PUBLISH}, channels=Reach.of(["*"]), created=time.time()
    )
    guarded.file.add(key)
    guarded.server.reload()
    headers = {
        "X-API-Key": text,
        "Content-Type": "application/x-ndjson",
        "Transfer-Encoding": "chunked",
    }
    async with wire_to(guarded.port) as wire:
        await wire.send(head("POST", "/notify/alerts", headers))
        line = b'{"message":"one"}\n'
        await wire.send(b"%x\r\n%b\r\n" % (len(line), line))
        await until(lambda: guarded.server.node.counts.intakes["ndjson"].stored == 1)
        guarded.file.remove("pipe")
        answer = await wire.answer()
        assert answer.json["error"]["code"] == 40101
        assert answer.json["stored"] == 1


async def test_a_new_key_is_good_without_a_restart(guarded: Guarded) -> None:
    key, text = make_key(
        "new", scopes={Scope.HISTORY}, channels=Reach.of(["*"]), created=time.time()
    )
    guarded.file.add(key)
    guarded.server.reload()  # what SIGHUP does
    answer = await request(guarded.port, "GET", HISTORY, headers={"X-API-Key": text})
    assert answer.status == 200


async def test_two_producers_idempotency_keys_are_two(guarded: Guarded) -> None:
    writers = [token(sub, publish=["alerts"]) for sub in ("42", "43", "42")]
    answers = [
        await request(
            guarded.port,
            "POST",
            "/notify/alerts",
            body=b"hi",
            headers={"Authorization": f"Bearer {writer}", "Idempotency-Key": "k"},
        )
        for writer in writers
    ]
    first, second, again = (answer.json["id"] for answer in answers)
    assert first != second
    assert again == first


async def test_no_credential_is_ever_logged(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = token(jti="an-id")
    made = await request(
        guarded.port, "POST", "/ticket", body=b"", headers={"X-API-Key": guarded.key}
    )
    ticket = made.json["ticket"]
    for headers in (
        {"Authorization": f"Bearer {shown}"},
        {"X-API-Key": guarded.key},
        {"Cookie": f"session={shown}"},
        {"Sec-WebSocket-Protocol": f"bearer.{shown}"},
        {"Authorization": f"Bearer {shown}x"},
    ):
        await request(guarded.port, "GET", HISTORY, headers=headers)
        await request(guarded.port, "GET", f"/nowhere?ticket={ticket}", headers=headers)
    await request(guarded.port, "GET", f"/stream?poll=1&channel=alerts&ticket={ticket}")
    async with raw_socket(guarded.port) as socket:
        await socket.ask({"type": "authenticate", "token": shown})
    await until(lambda: not guarded.server.node.connections)
    told = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "request" in told
    for secret in (shown, guarded.key, ticket, shown.rpartition(".")[2]):
        assert secret not in told


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("curl/8.14.1", True),
        (None, True),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", False),
    ],
)
async def test_basic_is_asked_for_where_no_dialogue_comes_of_it(
    guarded: Guarded, agent: str | None, told: bool
) -> None:
    headers = {} if agent is None else {"User-Agent": agent}
    answer = await request(guarded.port, "GET", "/channels/alerts/history", headers=headers)
    assert answer.status == 401
    assert ('Basic realm="notifier"' in answer.headers["www-authenticate"]) is told


async def test_a_tool_that_waits_to_be_asked_shows_its_password(guarded: Guarded) -> None:
    url = f"http://127.0.0.1:{guarded.port}/channels/alerts/history"
    passwords = HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, "whoever", token())
    opener = build_opener(HTTPBasicAuthHandler(passwords))
    with await asyncio.to_thread(opener.open, url, timeout=PATIENCE) as answer:
        assert answer.status == 200
