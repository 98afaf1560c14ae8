"""Seeing to connections, revocations and settings over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.revocations import Revocations
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.config import Settings
from notifier.config.values import HoldsPassword, is_secret
from notifier.instants import parse_instant
from notifier.server import Server
from tests.auth.signing import SECRET
from tests.frames import BINARY, CLOSE, TEXT, client_frame
from tests.handlers.serving import (
    Answer,
    RawSocket,
    choked,
    head,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)
from tests.redisservers.server import RedisServer

LATER = 4102444800  # the year 2100, in seconds since 1970


def token(sub: str = "42", **claims: Any) -> str:
    everything = {"sub": sub, "channels": ["*"], "exp": time.time() + 600, **claims}
    return make_token(everything, signing_secret(SECRET))


@dataclass
class Site:
    """Nodes of one service, and a key for each kind of visitor."""

    nodes: list[Server]
    admin: str
    reader: str

    async def ask(
        self, method: str, path: str, body: object = None, *, node: int = 0, key: str | None = None
    ) -> Answer:
        return await request(
            self.nodes[node].port,
            method,
            path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": key or self.admin},
        )

    def enter(self, credential: str, *, node: int = 0) -> Any:
        headers = {"Authorization": f"Bearer {credential}"}
        return raw_socket(self.nodes[node].port, "/ws?channel=a", headers)

    async def listed(self, query: str = "", *, node: int = 0) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/connections{query}", node=node)
        assert answer.status == 200, answer
        connections: list[dict[str, Any]] = answer.json["connections"]
        return connections


@asynccontextmanager
async def site(
    folder: Path, brokers: Mapping[str, Any] | None = None, nodes: int = 1
) -> AsyncIterator[Site]:
    file = KeyFile(folder / "keys.toml")
    shown = []
    for name, scopes in (("admin", {Scope.ADMIN}), ("reader", {Scope.SUBSCRIBE})):
        channels = Reach.of(["*"] if scopes & OF_CHANNELS else [])
        key, text = make_key(name, scopes=scopes, channels=channels, created=time.time())
        file.add(key)
        shown.append(text)
    settings = {"keys_file": str(file.path), "token_secret": SECRET, **(brokers or {})}
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(**settings)) for _ in range(nodes)]
        yield Site(servers, *shown)


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def pair(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Site]:
    brokers = {"broker": redis_server.url, "redis_prefix": f"admin{time.time_ns()}"}
    async with site(tmp_path, brokers, nodes=2) as made:
        yield made


async def subscribed(client: RawSocket) -> None:
    assert (await client.message())["type"] == "subscribed"


# --- connections ---


async def test_connections_are_listed_with_who_they_are(alone: Site) -> None:
    expires = int(time.time()) + 600
    async with (
        alone.enter(token(exp=expires)) as user,
        alone.enter(alone.reader) as program,
        wire_to(alone.nodes[0].port) as wire,
    ):
        await subscribed(user)
        await subscribed(program)
        bearer = {"Authorization": f"Bearer {token('43')}"}
        await wire.send(head("GET", "/events?channel=b&channel=c:*", bearer))
        assert (await wire.answer_head()).status == 200
        await until(lambda: alone.nodes[0].node.counts.subscriptions == 3)
        found = {each["name"]: each for each in await alone.listed()}
        assert found.keys() == {"42", "43", "reader"}
        node = alone.nodes[0].node
        opened = {connection.id for connection in node.connections.values()}
        assert {each["connection"] for each in found.values()} == opened
        first = found["42"]
        assert (first["kind"], first["transport"]) == ("token", "websocket")
        assert (first["node"], first["remote"]) == (node.id, "127.0.0.1")
        assert first["subscriptions"] == 1 and found["43"]["subscriptions"] == 2
        assert first["expires"].startswith(time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(expires)))
        assert found["reader"]["kind"] == "key" and found["reader"]["expires"] is None
        assert found["43"]["transport"] == "events"
        assert first["since"][:10] == time.strftime("%Y-%m-%d", time.gmtime())


async def test_connections_of_one_holder_come_page_by_page(alone: Site) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await subscribed(await stack.enter_async_context(alone.enter(token())))
        # A key of the same name is somebody else.
        await subscribed(await stack.enter_async_context(alone.enter(alone.reader)))
        await subscribed(await stack.enter_async_context(alone.enter(token("reader"))))
        found: list[str] = []
        after = ""
        for count in (2, 2, 1):
            answer = await alone.ask("GET", f"/connections?user=42&limit=2{after}")
            found += [each["connection"] for each in answer.json["connections"]]
            assert len(answer.json["connections"]) == count
            after = f"&after={answer.json['next']}"
        assert answer.json["next"] is None
        assert found == sorted(set(found)) and len(found) == 5
        assert [each["kind"] for each in await alone.listed("?key=reader")] == ["key"]
        assert [each["kind"] for each in await alone.listed("?user=reader")] == ["token"]


async def test_all_of_a_user_are_ended_and_nobody_else(alone: Site) -> None:
    async with (
        alone.enter(token()) as first,
        alone.enter(token()) as second,
        alone.enter(token("43")) as other,
        alone.enter(alone.reader) as program,
    ):
        for client in (first, second, other, program):
            await subscribed(client)
        answer = await alone.ask("DELETE", "/connections?user=42")
        assert (answer.status, answer.json) == (200, {"user": "42", "ended": 2})
        for client in (first, second):
            assert (await client.closed(answer=True))[0] == 4502
        answer = await alone.ask("DELETE", "/connections?key=reader")
        assert answer.json == {"key": "reader", "ended": 1}
        assert (await program.closed(answer=True))[0] == 4502
        assert (await other.ask({"type": "ping"}))["type"] == "reply"
        assert (await alone.ask("DELETE", "/connections?user=42")).json["ended"] == 0


async def test_who_has_been_ended_and_takes_its_time_is_not_ended_again(alone: Site) -> None:
    async with alone.enter(token(jti="lost")) as client:
        await subscribed(client)
        counts = [(await alone.ask("DELETE", "/connections?user=42")).json["ended"] for _ in "12"]
        assert counts == [1, 0]
        answer = await alone.ask("POST", "/revocations", {"token_id": "lost", "until": LATER})
        assert answer.json["ended"] == 0
        assert (await client.closed(answer=True))[0] == 4502


async def test_connections_of_all_nodes_are_listed_and_ended(pair: Site) -> None:
    async with (
        pair.enter(token(), node=0) as here,
        pair.enter(token(), node=1) as there,
        pair.enter(token("43"), node=1) as other,
    ):
        for client in (here, there, other):
            await subscribed(client)
        for node in (0, 1):
            found = await pair.listed(node=node)
            assert [each["connection"] for each in found] == sorted(
                each["connection"] for each in found
            )
            ids = {each["node"]: each["name"] for each in found}
            assert ids.keys() == {server.node.id for server in pair.nodes} and len(found) == 3
        answer = await pair.ask("GET", "/connections?limit=1")
        rest = await pair.listed(f"?after={answer.json['next']}")
        assert len(rest) == 2
        assert (await pair.ask("DELETE", "/connections?user=42")).json["ended"] == 2
        for client in (here, there):
            assert (await client.closed(answer=True))[0] == 4502
        assert (await other.ask({"type": "ping"}))["type"] == "reply"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/connections?user=1&key=1", 40006),
        ("GET", "/connections?limit=0", 40006),
        ("GET", "/connections?limit=1001", 40006),
        ("GET", "/connections?nobody=1", 40002),
        ("DELETE", "/connections", 40006),
        ("DELETE", "/connections?user=1&key=1", 40006),
        ("DELETE", "/connections?limit=1", 40002),
        ("GET", "/revocations?limit=x", 40006),
        ("GET", "/connections?key=", 40006),
        ("DELETE", "/connections?user=", 40006),
        ("GET", "/settings?secret=1", 40002),
    ],
)
async def test_what_is_not_asked_rightly_is_refused(
    server: Server, method: str, path: str, code: int
) -> None:
    assert (await request(server.port, method, path)).code == code


# --- revocations ---


async def test_a_revoked_token_is_out_at_once(alone: Site) -> None:
    lost, kept = token(jti="lost"), token(jti="kept")
    async with alone.enter(lost) as out, alone.enter(kept) as stays:
        await subscribed(out)
        await subscribed(stays)
        answer = await alone.ask("POST", "/revocations", {"token_id": "lost", "until": LATER})
        told = {"token_id": "lost", "until": "2100-01-01T00:00:00.000Z"}
        assert (answer.status, answer.json) == (200, {**told, "ended": 1})
        assert (await out.closed(answer=True))[0] == 4503
        assert (await stays.ask({"type": "ping"}))["type"] == "reply"
        refused = await request(
            alone.nodes[0].port, "GET", "/channels/a", headers={"Authorization": f"Bearer {lost}"}
        )
        assert refused.code == 40101
        answer = await alone.ask("GET", "/revocations")
        assert answer.json == {"revocations": [told], "next": None}


async def test_a_revoked_token_is_out_on_all_nodes(pair: Site) -> None:
    lost = token(jti="lost")
    async with pair.enter(lost, node=0) as here, pair.enter(lost, node=1) as there:
        await subscribed(here)
        await subscribed(there)
        answer = await pair.ask(
            "POST", "/revocations", {"token_id": "lost", "until": "2100-01-01T00:00:00Z"}, node=1
        )
        assert answer.json["ended"] == 2
        for client in (here, there):
            assert (await client.closed(answer=True))[0] == 4503
    for node in (0, 1):
        listed = (await pair.ask("GET", "/revocations", node=node)).json["revocations"]
        assert [each["token_id"] for each in listed] == ["lost"]


@pytest.mark.parametrize("how", ["revoked", "ended by an admin", "over"])
async def test_who_was_ended_on_raw_publishes_no_more(alone: Site, how: str) -> None:
    """It may take its time to answer our Close."""
    port = alone.nodes[0].port
    bearer = {"Authorization": f"Bearer {token(jti='lost', publish=True)}"}
    async with raw_socket(port, "/raw/a", bearer) as out:
        await out.send(client_frame(b"before"))
        assert await out.frame() == (TEXT, b"before")
        node = alone.nodes[0].node
        (connection,) = node.connections.values()
        if how == "revoked":
            await alone.ask("POST", "/revocations", {"token_id": "lost", "until": LATER})
        elif how == "over":
            node.connections.renew(connection, replace(connection.identity, expires_at=1.0))
        else:
            await alone.ask("DELETE", f"/connections/{connection.id}")
        opcode, reason = await out.frame()
        assert opcode == CLOSE
        await out.send(client_frame(b"after") + client_frame(b"after", BINARY))
        await out.send(client_frame(reason[:2], CLOSE))
        await out.ended()
    page = await alone.ask("GET", "/channels/a/history", key=token())
    assert [each.get("message") for each in page.json["publications"]] == ["before"]


def of_42(issued_at: float | None) -> str:
    return token(**({} if issued_at is None else {"iat": issued_at}))


async def test_all_tokens_of_a_user_that_were_issued_until_now_are_out(alone: Site) -> None:
    now = time.time()
    before, unknown, after = of_42(now - 5), of_42(None), of_42(now + 5)
    async with (
        alone.enter(before) as first,
        alone.enter(unknown) as second,
        alone.enter(after) as stays,
        alone.enter(token("43", iat=now - 5)) as another,
        alone.enter(alone.reader) as program,
    ):
        for client in (first, second, stays, another, program):
            await subscribed(client)
        ticket = await alone.ask("POST", "/ticket", {}, key=before)
        answer = await alone.ask("POST", "/revocations", {"user": "42"})
        assert answer.json.keys() == {"user", "before", "until", "ended"}
        assert (answer.status, answer.json["user"], answer.json["ended"]) == (200, "42", 2)
        for client in (first, second):
            assert (await client.closed(answer=True))[0] == 4503
        for client in (stays, another, program):
            assert (await client.ask({"type": "ping"}))["type"] == "reply"
        path = f"/stream?poll=1&channel=a&ticket={ticket.json['ticket']}"
        assert (await request(alone.nodes[0].port, "GET", path)).code == 40101
        for shown, code in ((before, 40101), (unknown, 40101), (after, None)):
            answer = await alone.ask("POST", "/ticket", {}, key=shown)
            assert (None if answer.status == 200 else answer.code) == code
        listed = (await alone.ask("GET", "/revocations?users=1")).json
        (told,) = listed["revocations"]
        assert (told["user"], listed["next"]) == ("42", None)
        # As long as a token may live, and the issuer's clock be ahead.
        days = (parse_instant(told["until"]) - parse_instant(told["before"])) / 86_400_000
        assert 365 < days < 365.001
        assert (await alone.ask("GET", "/revocations")).json["revocations"] == []
        # And once more, for those of a moment ago that were let in meanwhile.
        assert (await alone.ask("POST", "/revocations", {"user": "42"})).json["ended"] == 0


async def test_all_tokens_of_a_user_are_out_on_all_nodes_and_on_those_that_come_later(
    pair: Site, tmp_path: Path
) -> None:
    lost = of_42(time.time() - 5)
    async with pair.enter(lost, node=0) as here, pair.enter(lost, node=1) as there:
        await subscribed(here)
        await subscribed(there)
        answer = await pair.ask("POST", "/revocations", {"user": "42"}, node=1)
        assert (answer.status, answer.json["ended"]) == (200, 2)
        for client in (here, there):
            assert (await client.closed(answer=True))[0] == 4503
    settings = pair.nodes[0].settings
    async with serving(
        token_secret=SECRET, broker=settings.broker, redis_prefix=settings.redis_prefix
    ) as late:
        for server in (*pair.nodes, late):
            for shown, status in ((lost, 401), (of_42(time.time() + 5), 200)):
                headers = {"Authorization": f"Bearer {shown}"}
                answer = await request(server.port, "POST", "/ticket", headers=headers)
                assert answer.status == status


async def test_tokens_of_an_issuer_whose_clock_is_ahead_are_revoked_too(alone: Site) -> None:
    ahead = of_42(time.time() + 20)
    body = {"user": "42", "before": time.time() + 25}
    assert (await alone.ask("POST", "/revocations", body)).status == 200
    assert (await alone.ask("POST", "/ticket", {}, key=ahead)).code == 40101
    body["before"] = time.time() + 60
    assert (await alone.ask("POST", "/revocations", body)).code == 40003


async def test_users_come_page_by_page(server: Server) -> None:
    for user in ("b", "ü", "a"):
        body = json.dumps({"user": user, "before": time.time() - 100}).encode()
        assert (await request(server.port, "POST", "/revocations", body=body)).status == 200
    first = (await request(server.port, "GET", "/revocations?users=1&limit=2")).json
    assert ([each["user"] for each in first["revocations"]], first["next"]) == (["a", "b"], "b")
    second = (await request(server.port, "GET", "/revocations?users=1&limit=2&after=b")).json
    assert ([each["user"] for each in second["revocations"]], second["next"]) == (["ü"], None)


@pytest.mark.parametrize("path", ["/events?channel=a", "/stream?channel=a"])
@pytest.mark.parametrize("kind", ["token", "user", "key"])
async def test_who_was_on_the_way_in_when_it_was_revoked_is_out_too(
    tmp_path: Path, path: str, kind: str
) -> None:
    """For as long as it does not read what it is answered."""
    async with site(tmp_path) as made:
        (server,) = made.nodes
        credential = made.reader if kind == "key" else token(jti="lost")
        connections = server.node.connections
        async with choked(server) as wire:
            await wire.send(head("GET", path, {"X-API-Key": credential}))
            await until(lambda: connections._arriving == 1)
            if kind == "key":
                KeyFile(tmp_path / "keys.toml").remove("reader")
                server.reload()
            elif kind == "user":
                await made.ask("POST", "/revocations", {"user": "42"})
            else:
                await made.ask("POST", "/revocations", {"token_id": "lost", "until": LATER})
            for _ in range(3):
                server.node.sweep()
            assert connections._arriving == 1
            answer = (await wire.ended()).lstrip(b".")
            assert answer.startswith(b"HTTP/1.1 200") and b'"code":40101' in answer, answer
        await until(lambda: not connections)


async def test_a_token_is_revoked_for_as_long_as_it_may_live_unless_its_end_is_told(
    alone: Site,
) -> None:
    life = alone.nodes[0].settings.max_token_life
    answer = await alone.ask("POST", "/revocations", {"token_id": "lost"})
    until = parse_instant(answer.json["until"]) / 1000
    assert 0 <= time.time() + life + 30 - until < 5
    ahead = int(time.time()) + 25
    for name, status in (("lost", 401), ("other", 404)):
        longest = token(jti=name, iat=ahead, exp=ahead + life)
        assert (await alone.ask("GET", "/channels/a", key=longest)).status == status
    assert ahead + life <= until


async def test_a_revocation_that_would_not_be_remembered_is_refused(alone: Site) -> None:
    node = alone.nodes[0].node
    node.authenticator.revocations = Revocations(limit=2)
    for name, end in (("one", LATER), ("two", LATER), ("sooner", LATER - 9)):
        for told in ({"token_id": name, "until": end}, {"user": name}):
            answer = await alone.ask("POST", "/revocations", told)
            assert answer.status == (503 if name == "sooner" else 200), told
            assert name != "sooner" or answer.code == 50308
    for name, status in (("one", 401), ("two", 401), ("sooner", 404)):
        answer = await alone.ask("GET", "/channels/a", key=token(jti=name))
        assert answer.status == status, name
    assert node.authenticator.revocations.forgotten == 0


async def test_revocations_come_page_by_page(server: Server) -> None:
    for name in "bdac":
        await request(
            server.port,
            "POST",
            "/revocations",
            body=json.dumps({"token_id": name, "until": LATER}).encode(),
        )
    first = (await request(server.port, "GET", "/revocations?limit=3")).json
    assert [each["token_id"] for each in first["revocations"]] == ["a", "b", "c"]
    assert first["next"] == "c"
    second = (await request(server.port, "GET", "/revocations?limit=3&after=c")).json
    assert [each["token_id"] for each in second["revocations"]] == ["d"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", 40001),
        ("[]", 40007),
        ('{"token_id": "a", "until": null}', 40003),
        ('{"until": 4102444800}', 40003),
        ('{"token_id": "", "until": 4102444800}', 40003),
        (f'{{"token_id": "{"é" * 101}", "until": 4102444800}}', 40003),
        ('{"token_id": 7, "until": 4102444800}', 40003),
        ('{"token_id": "a", "until": 1000}', 40003),
        ('{"token_id": "a", "until": true}', 40003),
        ('{"token_id": "a", "until": "tomorrow"}', 40003),
        ('{"token_id": "a", "until": 1e300}', 40003),
        (f'{{"token_id": "a", "until": 1{"0" * 400}}}', 40003),
        ('{"token_id": "a", "until": 4102444800, "user": "42"}', 40002),
        ('{"user": ""}', 40003),
        ('{"user": 42}', 40003),
        ('{"user": "' + "x" * 201 + '"}', 40003),
        ('{"user": "42", "until": 4102444800}', 40002),
        ('{"user": "42", "before": null}', 40003),
        ('{"user": "42", "before": 4102444800}', 40003),
        ('{"user": "42", "before": 1000}', 40003),
        ('{"user": "42", "before": "yesterday"}', 40003),
    ],
)
async def test_what_is_no_revocation_is_refused(server: Server, body: str, code: int) -> None:
    answer = await request(server.port, "POST", "/revocations", body=body.encode())
    assert answer.code == code
    assert len(server.node.authenticator.revocations) == 0


async def test_without_redis_nothing_new_is_revoked_elsewhere_and_what_is_known_counts(
    tmp_path: Path,
) -> None:
    with RedisServer() as redis:
        async with site(tmp_path, {"broker": redis.url, "redis_timeout": 0.5}, nodes=2) as pair:
            await pair.ask("POST", "/revocations", {"token_id": "known", "until": LATER})
            made = await pair.ask("POST", "/ticket", {})
            redis.kill()
            answer = await pair.ask("POST", "/revocations", {"token_id": "new", "until": LATER})
            assert answer.code == 50301
            for node, name in ((0, "known"), (1, "known"), (0, "new")):
                answer = await pair.ask("GET", "/channels/a", node=node, key=token(jti=name))
                assert answer.code == 40101, (node, name)
            path = f"/stream?poll=1&channel=a&ticket={made.json['ticket']}"
            shown = await request(pair.nodes[0].port, "GET", path)
            assert (shown.status, shown.code) == (503, 50301)
            assert (await pair.ask("POST", "/ticket", {})).code == 50301


# --- tickets ---


async def test_a_ticket_of_one_node_is_good_once_on_any(pair: Site) -> None:
    for maker, taker in ((0, 1), (1, 0), (0, 0)):
        made = await pair.ask("POST", "/ticket", {}, node=maker, key=pair.reader)
        path = f"/stream?poll=1&channel=a&ticket={made.json['ticket']}"
        answers = [
            (await request(pair.nodes[node].port, "GET", path)).status
            for node in (taker, taker, maker)
        ]
        assert answers == [200, 401, 401]


async def test_a_ticket_of_a_token_that_was_revoked_since_is_good_no_more(alone: Site) -> None:
    made = await alone.ask("POST", "/ticket", {}, key=token(jti="lost"))
    await alone.ask("POST", "/revocations", {"token_id": "lost", "until": LATER})
    path = f"/stream?poll=1&channel=a&ticket={made.json['ticket']}"
    assert (await request(alone.nodes[0].port, "GET", path)).code == 40101


# --- settings ---


async def test_settings_are_told_with_where_they_came_from(server: Server) -> None:
    answer = await request(server.port, "GET", "/settings")
    assert answer.status == 200
    assert list(answer.json) == list(Settings.model_fields)
    assert answer.json["max_connections"]["from"] == "default"
    assert answer.json["port"] == {"value": 0, "from": "code"}


HIDDEN = {
    name: field
    for name, field in Settings.model_fields.items()
    if is_secret(field) or any(isinstance(each, HoldsPassword) for each in field.metadata)
}
MARK = "hunter2-hunter2-hunter2-hunter2-hunter2"


def test_settings_that_hide_something_are_known() -> None:
    assert {"broker", "token_secret"} <= HIDDEN.keys()


@pytest.mark.parametrize("name", HIDDEN)
async def test_no_secret_is_shown(tmp_path: Path, name: str) -> None:
    value = MARK if is_secret(HIDDEN[name]) else f"redis://user:{MARK}@127.0.0.1:1"
    async with site(tmp_path) as made:
        node = made.nodes[0].node
        # As it would be if the server had been started with it.
        node.settings = node.settings.model_copy(update={name: value})
        answer = await made.ask("GET", "/settings")
        assert MARK not in answer.body.decode() and "***" in answer.json[name]["value"]
        assert SECRET not in answer.body.decode()
