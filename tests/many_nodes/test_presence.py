"""Who is on a channel of which node, and sending them away from another one, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from notifier.config import NamespaceSettings
from notifier.server import Server
from tests.handlers.serving import PATIENCE, RawSocket, raw_socket, request, serving
from tests.redisservers.server import RedisServer

Nodes = tuple[Server, Server]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    """Two that share a Redis."""
    with RedisServer() as redis:
        settings: dict[str, Any] = {
            "broker": redis.url,
            "presence": True,
            "presence_members": 3,
            "namespaces": {
                "dark": NamespaceSettings(presence=False),
                "live": NamespaceSettings(history_size=0),
            },
        }
        async with serving(**settings) as one, serving(**settings) as two:
            yield one, two


async def get(server: Server, path: str) -> Any:
    answer = await request(server.port, "GET", path)
    return answer.json if answer.status == 200 else answer.code


async def becomes(server: Server, path: str, wanted: Any, *members: str) -> None:
    """Ask until the answer, or these members of it, is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await get(server, path)
            if members and isinstance(found, dict):
                found = tuple(found[name] for name in members)
            if found == wanted:
                return
            await asyncio.sleep(0.02)


async def presence(client: RawSocket) -> tuple[str, int]:
    message = await client.message()
    assert message["type"] == "presence", message
    return message["event"], message["count"]


async def follow(stack: AsyncExitStack, server: Server, query: str) -> RawSocket:
    client = await stack.enter_async_context(raw_socket(server.port, f"/ws?{query}"))
    assert (await client.message())["type"] == "subscribed"
    return client


async def test_watcher_hears_who_joins_and_leaves_on_the_other_node(nodes: Nodes) -> None:
    one, two = nodes
    async with AsyncExitStack() as stack:
        watcher = await follow(stack, one, "channel=a&presence=1")
        assert await presence(watcher) == ("now", 1)
        async with raw_socket(two.port, "/ws?channel=a&presence=1") as other:
            assert (await other.message())["type"] == "subscribed"
            joined = await watcher.message()
            assert (joined["event"], joined["count"]) == ("join", 2)
            assert joined["member"]["node"] == two.node.id
            now = await other.message()
            assert (now["event"], now["count"]) == ("now", 2)
            assert {member["node"] for member in now["members"]} == {one.node.id, two.node.id}
            for server in nodes:
                answer = await get(server, "/channels/a/presence")
                assert answer == {"channel": "a", "count": 2, "members": now["members"]}
        left = await watcher.message()
        assert (left["event"], left["member"], left["count"]) == ("leave", joined["member"], 1)


async def test_too_many_on_both_nodes_together_are_counted(nodes: Nodes) -> None:
    one, two = nodes
    async with AsyncExitStack() as stack:
        watcher = await follow(stack, one, "channel=a&presence=1")
        assert await presence(watcher) == ("now", 1)
        for _ in range(10):
            await follow(stack, two, "channel=a")
        while (told := await presence(watcher)) != ("count", 11):
            assert told[0] == "count" or (told[0] == "join" and told[1] <= 3), told
        wanted = {"channel": "a", "count": 11, "members": None}
        for server in nodes:
            await becomes(server, "/channels/a/presence", wanted)


async def test_node_that_is_stopped_takes_its_members_along(nodes: Nodes) -> None:
    one, two = nodes
    async with AsyncExitStack() as stack:
        watcher = await follow(stack, one, "channel=a&presence=1")
        assert await presence(watcher) == ("now", 1)
        await follow(stack, two, "channel=a")
        assert await presence(watcher) == ("join", 2)
        await two.stop()
        assert await presence(watcher) == ("leave", 1)
        answer = await get(one, "/nodes")
        assert [node["node"] for node in answer["nodes"]] == [one.node.id]


async def test_channels_and_their_subscribers_are_the_same_on_every_node(nodes: Nodes) -> None:
    one, two = nodes
    async with AsyncExitStack() as stack:
        for server, channel in ((one, "dark:a"), (two, "dark:a"), (two, "live:b"), (one, "c")):
            await follow(stack, server, f"channel={channel}")
        await request(one.port, "POST", "/notify/c", body=b"hi")
        for server in nodes:
            await becomes(server, "/channels/dark:a", (2,), "subscribers")
            await becomes(server, "/channels/live:b", (1,), "subscribers")
            await becomes(server, "/channels/c", (1,), "subscribers")
            listed = (await get(server, "/channels"))["channels"]
            assert [(each["channel"], each["subscribers"]) for each in listed] == [
                ("c", 1),
                ("dark:a", 2),
                ("live:b", 1),
            ]
            assert await get(server, "/channels/nobody") == 40402
    for server in nodes:
        await becomes(server, "/channels/dark:a", 40402)
        await becomes(server, "/channels/c", (0,), "subscribers")


async def test_nodes_are_listed_by_each_of_them(nodes: Nodes) -> None:
    one, two = nodes
    ids = [one.node.id, two.node.id]
    for server in nodes:
        answer = await get(server, "/nodes")
        assert answer["answered_by"] == server.node.id
        assert sorted(node["node"] for node in answer["nodes"]) == sorted(ids)
        assert {node["port"] for node in answer["nodes"]} == {one.port, two.port}
        assert all(node["ready"] for node in answer["nodes"])


async def test_connection_is_ended_from_the_other_node(nodes: Nodes) -> None:
    one, two = nodes
    async with AsyncExitStack() as stack:
        client = await follow(stack, one, "channel=a&channel=b")
        assert (await client.message())["channel"] == "b"
        (connection,) = one.node.connections.values()
        path = f"/connections/{connection.id}"
        answer = await request(two.port, "DELETE", f"{path}/subscriptions/a")
        assert answer.status == 200
        message = await client.message()
        assert (message["type"], message["channel"]) == ("unsubscribed", "a")
        assert message["code"] == 41001
        again = await request(two.port, "DELETE", f"{path}/subscriptions/a")
        assert (again.status, again.code) == (404, 40404)
        assert (await request(two.port, "DELETE", path)).status == 200
        assert (await client.closed(answer=True))[0] == 4502
        assert (await request(two.port, "DELETE", path)).code == 40403


async def test_redis_that_is_away_is_no_reason_to_say_that_nobody_is_there() -> None:
    with RedisServer() as redis:
        async with serving(broker=redis.url, presence=True, redis_timeout=1.0) as server:
            async with raw_socket(server.port, "/ws?channel=a") as client:
                assert (await client.message())["type"] == "subscribed"
                (connection,) = server.node.connections.values()
                redis.kill()
                for path in ("/channels/a/presence", "/channels", "/channels/a", "/nodes"):
                    assert await get(server, path) == 50301, path
                answer = await request(server.port, "DELETE", "/connections/elsewhere")
                assert (answer.status, answer.code) == (503, 50301)
                # What is here needs nobody else.
                own = await request(server.port, "DELETE", f"/connections/{connection.id}")
                assert own.status == 200
                assert (await client.closed(answer=True))[0] == 4502
