"""``GET /nodes``, over real sockets."""

from __future__ import annotations

import re

import notifier
from notifier.server import Server
from tests.handlers.serving import raw_socket, request


async def test_node_tells_of_itself(server: Server) -> None:
    async with raw_socket(server.port, "/ws?channel=a&channel=b") as client:
        for _ in range(2):
            assert (await client.message())["type"] == "subscribed"
        answer = await request(server.port, "GET", "/nodes")
        assert answer.status == 200
        (node,) = answer.json["nodes"]
        assert node["node"] == answer.json["answered_by"] == server.node.id
        assert re.fullmatch(r"[-\w]{8}", node["node"])
        assert (node["port"], node["version"]) == (server.port, notifier.__version__)
        assert (node["connections"], node["subscriptions"], node["channels"]) == (1, 2, 2)
        assert (node["ready"], node["reason"]) == (True, None)
        server.node.connections.draining = True
        (node,) = (await request(server.port, "GET", "/nodes")).json["nodes"]
        assert (node["ready"], node["reason"]) == (False, "draining")


async def test_it_takes_no_parameters(server: Server) -> None:
    answer = await request(server.port, "GET", "/nodes?limit=1")
    assert (answer.status, answer.code) == (400, 40002)
