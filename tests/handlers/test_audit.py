"""The audit log: who has done what, or was not let."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.base import Handler
from handlers.routes import routes
from notifier import logs
from notifier.assets import static_path
from notifier.audit import ACTS
from notifier.auth.keyfile import KeyFile
from notifier.auth.scopes import Scope
from notifier.instants import format_instant
from notifier.node import Node
from tests.certificates import certificate
from tests.handlers.serving import head, open_stream, request, until
from tests.handlers.test_administration import LATER, Site, site, subscribed, token

# A day ago.
BEFORE = int(time.time()) - 86400


def _told(seconds: float) -> str:
    return format_instant(round(seconds * 1000))


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """Each event, as a dictionary with its name as ``act``; grows."""
    told: list[dict[str, Any]] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append({"act": record.getMessage(), **vars(record)["fields"]})

    keeper, log = Keeper(), logging.getLogger("notifier.audit")
    level = log.level
    log.addHandler(keeper)
    log.setLevel(logging.INFO)
    yield told
    log.removeHandler(keeper)
    log.setLevel(level)


BY_ADMIN = {"kind": "key", "who": "admin", "remote": "127.0.0.1", "outcome": "done"}


async def test_each_act_is_one_event(made: Site, audited: list[dict[str, Any]]) -> None:
    await request(made.nodes[0].port, "POST", "/notify/a", body=b"x")
    async with made.enter(token()) as client:
        await subscribed(client)
        (connection,) = made.nodes[0].node.connections.values()
        one = f"/connections/{connection.id}"
        for method, path, body in (
            ("DELETE", f"{one}/subscriptions/a", None),
            ("GET", "/connections?user=42", None),
            ("HEAD", "/connections?user=42", None),
            ("DELETE", one, None),
            ("DELETE", "/connections?key=nobody", None),
            ("DELETE", "/channels/a/history", None),
            ("POST", "/revocations", {"token_id": "t1", "until": LATER}),
            ("POST", "/revocations", {"user": "42", "before": BEFORE}),
            ("GET", "/settings", None),
            # What is looked at without consequence is no act.
            ("GET", "/nodes", None),
            ("GET", "/revocations", None),
            ("HEAD", "/settings", None),
        ):
            answer = await made.ask(method, path, body)
            assert answer.status in (200, 404), (path, answer)
    revoked = {"token_id": "t1", "until": "2100-01-01T00:00:00.000Z", "ended": 0}
    of_user = {
        "user": "42", "before": _told(BEFORE), "until": _told(BEFORE + 365 * 86400 + 30), "ended": 0
    }  # fmt: skip
    refused = {"outcome": "refused", "code": 40402, "path": "/channels/a/history"}
    assert audited == [
        {"act": "subscription.end", **BY_ADMIN, "path": f"{one}/subscriptions/a"},
        {"act": "connections.list", **BY_ADMIN, "user": "42"},
        {"act": "connections.list", **BY_ADMIN, "user": "42"},
        {"act": "connection.end", **BY_ADMIN, "path": one},
        {"act": "connections.end", **BY_ADMIN, "key": "nobody", "ended": 0},
        {"act": "history.clear", **BY_ADMIN, **refused},
        {"act": "token.revoke", **BY_ADMIN, **revoked},
        {"act": "token.revoke", **BY_ADMIN, **of_user},
        {"act": "settings.read", **BY_ADMIN, "path": "/settings"},
    ]


async def test_who_is_not_let_is_told_too(made: Site, audited: list[dict[str, Any]]) -> None:
    secret = token() + "x"
    for key, who, code in (
        (made.reader, ("key", "reader"), 40302),
        (secret, ("anonymous", ""), 40101),
    ):
        await made.ask("DELETE", "/connections?user=42", key=key)
        told = audited.pop()
        assert (told["kind"], told["who"]) == who
        assert (told["outcome"], told["code"], told["path"]) == ("refused", code, "/connections")
    nobody = await request(made.nodes[0].port, "POST", "/revocations", body=b"{}")
    assert nobody.code == 40100
    assert audited.pop()["code"] == 40100
    assert audited == [] and secret not in str(audited)


async def test_who_does_not_wait_for_the_answer_is_told_as_well(
    made: Site, audited: list[dict[str, Any]]
) -> None:
    async with made.enter(token()) as client:
        await subscribed(client)
        _, writer = await open_stream(made.nodes[0].port)
        writer.write(head("DELETE", "/connections?user=42", {"X-API-Key": made.admin}))
        await writer.drain()
        writer.transport.abort()
        assert (await client.closed(answer=True))[0] == 4502
        await until(lambda: bool(audited))
    assert audited == [{"act": "connections.end", **BY_ADMIN, "user": "42", "ended": 1}]


async def test_keys_read_anew_are_told(made: Site, audited: list[dict[str, Any]]) -> None:
    server = made.nodes[0]
    path = Path(server.settings.keys_file)
    async with made.enter(made.reader) as client:
        await subscribed(client)
        KeyFile(path).remove("reader")
        server._watch()
        assert (await client.closed(answer=True))[0] == 4503
    server.reload()
    path.unlink()  # noqa: ASYNC240
    for _ in range(3):
        server._watch()
    path.write_text("rubbish")  # noqa: ASYNC240
    server.reload()
    about = {"act": "keys.reload", "file": str(path)}
    assert audited == [
        {**about, "by": "watch", "outcome": "done", "ended": 1},
        {**about, "by": "signal", "outcome": "done", "ended": 0},
        {**about, "by": "watch", "outcome": "failed"},
        {**about, "by": "signal", "outcome": "failed"},
    ]


async def test_a_certificate_that_was_replaced_is_no_reason_to_read_keys_anew(
    tmp_path: Path, audited: list[dict[str, Any]]
) -> None:
    pair = certificate(tmp_path)
    tls = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    async with site(tmp_path, tls) as made:
        (server,) = made.nodes
        pair.put(certificate(tmp_path, "other"))
        before = server._http.ssl_options
        server._look_at = 0.0
        server._watch()
        assert server._http.ssl_options is not before
    assert audited == []


def test_acts_are_told_whatever_the_level_of_the_log_is() -> None:
    root, audit = logging.getLogger(), logging.getLogger("notifier.audit")
    before = root.handlers[:], root.level, audit.level
    out = io.StringIO()
    try:
        root.handlers = []
        logs.configure("error", "json", out)
        logs.event(audit, logging.INFO, "settings.read", who="admin")
        logs.event(logging.getLogger("notifier.http"), logging.INFO, "request")
    finally:
        root.handlers, level, audit_level = before
        root.setLevel(level)
        audit.setLevel(audit_level)
        logging.captureWarnings(False)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["event"] == "settings.read"


def test_whatever_an_admin_alone_may_do_is_an_act(node: Node) -> None:
    looks = {("GET", "/nodes"), ("GET", "/revocations")}
    found = set()
    for route in routes(node, static_path()):
        for method, need in route.policy.needs.items():
            if need is not Scope.ADMIN or (method, route.path) in looks:
                continue
            assert issubclass(route.handler, Handler)
            found.add(route.handler.acts[method])
    assert found == ACTS.keys() - {"keys.reload"}
