"""``/health/live`` and ``/health/ready``."""

from __future__ import annotations

import json

import pytest
from tornado.httpclient import AsyncHTTPClient

from notifier.node import Node


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
