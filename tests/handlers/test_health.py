"""``/health/live`` and ``/health/ready``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

from handlers.health import WITHHELD
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.node import Node
from tests.handlers.serving import request, serving


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_a_healthy_node_is_live_and_ready(
    http_client: AsyncHTTPClient, base_url: str, path: str
) -> None:
    response = await http_client.fetch(base_url + path)
    assert json.loads(response.body) == {"status": "ok"}
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_node_in_trouble_is_live_but_not_ready(
    node: Node, http_client: AsyncHTTPClient, base_url: str
) -> None:
    node.broker.trouble = "the broker can't be heard"  # type: ignore[misc]
    response = await http_client.fetch(base_url + "/health/ready", raise_error=False)
    assert response.code == 503
    assert json.loads(response.body) == {
        "status": "not ready",
        "reason": "the broker can't be heard",
    }
    assert response.headers["Retry-After"] == "1"
    assert (await http_client.fetch(base_url + "/health/live")).code == 200


async def test_a_node_that_leaves_is_not_ready(
    node: Node, http_client: AsyncHTTPClient, base_url: str
) -> None:
    node.connections.draining = True
    response = await http_client.fetch(base_url + "/health/ready", raise_error=False)
    assert response.code == 503
    assert json.loads(response.body)["reason"] == "draining"


async def test_where_the_broker_is_is_told_to_those_who_run_it_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.toml")
    texts = {}
    for scope in (Scope.METRICS, Scope.ADMIN, Scope.HISTORY):
        channels = Reach.of(["*"] if scope is Scope.HISTORY else [])
        key, texts[scope] = make_key(scope, scopes={scope}, channels=channels, created=1.0)
        file.add(key)
    async with serving(keys_file=str(file.path)) as server:
        server.node.broker.trouble = "redis.internal:6379 is away"  # type: ignore[misc]

        async def told(key: str | None) -> str:
            headers = {} if key is None else {"X-API-Key": key}
            answer = await request(server.port, "GET", "/health/ready", headers=headers)
            assert answer.status == 503
            reason: str = answer.json["reason"]
            return reason

        for scope, is_told in ((Scope.METRICS, True), (Scope.ADMIN, True), (Scope.HISTORY, False)):
            assert (await told(texts[scope]) == server.node.broker.trouble) == is_told, scope
        for nobody in (None, "nk_mistyped", "", "x" * 9000, "a.b.c"):
            assert await told(nobody) == WITHHELD, nobody
        server.node.connections.draining = True
        assert await told(None) == "draining"
