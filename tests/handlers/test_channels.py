"""``/channels`` and ``/channels/<name>``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest

from notifier.server import Server
from tests.handlers.serving import raw_socket, request, serving, until


async def publish(server: Server, *channels: str) -> list[str]:
    """One notification in each; their positions."""
    positions = []
    for channel in channels:
        path = f"/notify/{quote(channel, safe='')}"
        positions.append((await request(server.port, "POST", path, body=b"hi")).json["position"])
    return positions


async def names(server: Server, query: str = "") -> tuple[list[str], str | None]:
    """The names on one page, and where the next begins."""
    answer = await request(server.port, "GET", f"/channels{query}")
    assert answer.status == 200
    return [one["channel"] for one in answer.json["channels"]], answer.json["next"]


async def test_a_channel_tells_what_is_known_of_it(server: Server) -> None:
    _, position = await publish(server, "a", "a")
    async with raw_socket(server.port, "/ws?channel=a") as socket:
        assert (await socket.message())["type"] == "subscribed"
        answer = await request(server.port, "GET", "/channels/a")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    one = answer.json
    assert list(one) == ["channel", "position", "publications", "bytes", "time", "subscribers"]
    assert (one["channel"], one["position"]) == ("a", position)
    assert (one["publications"], one["subscribers"]) == (2, 1)
    assert one["bytes"] > 0
    page = await request(server.port, "GET", "/channels/a/history")
    assert one["time"] == page.json["publications"][-1]["time"]


async def test_a_channel_nobody_knows_is_404(server: Server) -> None:
    answer = await request(server.port, "GET", "/channels/new")
    assert (answer.status, answer.code) == (404, 40402)
    assert answer.json["error"]["channel"] == "new"
    assert (await request(server.port, "HEAD", "/channels/new")).status == 404


async def test_a_channel_that_is_only_listened_to_has_no_position() -> None:
    async with serving(namespaces={"now": {"history_size": 0}}) as server:
        for name in ("new", "now:a"):
            async with raw_socket(server.port, f"/ws?channel={name}") as socket:
                assert (await socket.message())["type"] == "subscribed"
                answer = await request(server.port, "GET", f"/channels/{name}")
                assert answer.json == {
                    "channel": name,
                    "position": None,
                    "publications": 0,
                    "bytes": 0,
                    "time": None,
                    "subscribers": 1,
                }
                assert (await names(server))[0] == [name]
            await until(lambda: not server.node.connections)
            assert (await request(server.port, "GET", f"/channels/{name}")).code == 40402


async def test_what_history_has_lost_has_no_time(server: Server) -> None:
    (position,) = await publish(server, "a")
    await request(server.port, "DELETE", "/channels/a/history")
    one = (await request(server.port, "GET", "/channels/a")).json
    assert (one["position"], one["publications"], one["time"]) == (position, 0, None)
    assert (await names(server))[0] == ["a"]


async def test_there_are_no_channels_at_first(server: Server) -> None:
    answer = await request(server.port, "GET", "/channels")
    assert answer.json == {"channels": [], "next": None}


async def test_channels_are_listed_by_code_point_whoever_knows_them(server: Server) -> None:
    await publish(server, "b", "Z", "é", "b:1", "~")
    async with raw_socket(server.port, "/ws?channel=a&channel=b&channel=%F0%9D%9F%98") as socket:
        for _ in range(3):
            assert (await socket.message())["type"] == "subscribed"
        listed, following = await names(server)
        assert listed == ["Z", "a", "b", "b:1", "~", "é", "\U0001d7d8"]
        assert following is None
        answer = await request(server.port, "GET", "/channels")
        known = {one["channel"]: one for one in answer.json["channels"]}
        assert known["b"] == (await request(server.port, "GET", "/channels/b")).json
        assert (known["b"]["subscribers"], known["a"]["position"]) == (1, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 8, 9])
async def test_channels_are_listed_page_by_page(server: Server, limit: int) -> None:
    published = ["a", "c", "d", "g", "h"]
    followed = ["b", "d", "e", "f"]
    await publish(server, *published)
    query = "&".join(f"channel={name}" for name in followed)
    async with raw_socket(server.port, f"/ws?{query}") as socket:
        for _ in followed:
            assert (await socket.message())["type"] == "subscribed"
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page, after = await names(server, f"?limit={limit}&after={after}")
            assert len(page) == limit or after is None
            assert after in (None, page[-1])
            found += page
    assert found == list("abcdefgh")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a", "b:1", "b:2", "c:1"]),
        ("b:*", ["b:1", "b:2"]),
        ("*:1", ["b:1", "c:1"]),
        ("x*", []),
    ],
)
async def test_a_pattern_chooses(server: Server, pattern: str, expected: list[str]) -> None:
    await publish(server, "a", "b:1", "c:1")
    async with raw_socket(server.port, "/ws?channel=b:2&channel=b:1") as socket:
        for _ in range(2):
            assert (await socket.message())["type"] == "subscribed"
        assert await names(server, f"?pattern={quote(pattern)}") == (expected, None)


async def test_many_followed_channels_are_listed() -> None:
    """More than are looked at without giving others a turn."""
    unlimited = {"max_subscriptions": 1500, "max_commands_per_second": 0}
    async with serving(**unlimited) as server, AsyncExitStack() as stack:
        socket = await stack.enter_async_context(raw_socket(server.port))
        for number in range(1200):
            await socket.say({"type": "subscribe", "channel": f"c{number}"})
        for _ in range(1200):
            assert (await socket.message())["type"] == "subscribed"
        listed, following = await names(server, "?limit=1000")
        assert listed == sorted(f"c{number}" for number in range(1200))[:1000]
        assert following == listed[-1]
        assert len((await names(server, f"?limit=1000&after={following}"))[0]) == 200


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        ("/channels?limit=0", 40006, "limit"),
        ("/channels?limit=1001", 40006, "limit"),
        ("/channels?limit=x", 40006, "limit"),
        ("/channels?pattern=alerts", 40006, "pattern"),
        ("/channels?pattern=**", 40006, "pattern"),
        ("/channels?pattern=a%20*", 40006, "pattern"),
        ("/channels?pattern=%FF", 40006, "pattern"),
        ("/channels?patern=*", 40002, "patern"),
        ("/channels/a?limit=1", 40002, "limit"),
        ("/channels/a%20b", 40004, "channel"),
        ("/channels/a*", 40004, "channel"),
        ("/channels/%FF", 40004, "channel"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    server: Server, path: str, code: int, field: str
) -> None:
    answer = await request(server.port, "GET", path)
    assert (answer.status, answer.code) == (code // 100, code)
    assert answer.json["error"]["field"] == field
