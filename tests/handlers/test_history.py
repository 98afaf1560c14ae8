"""``/channels/<name>/history``."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from notifier.node import Node
from notifier.notification import Notification, Position
from notifier.server import Server
from tests.handlers.serving import raw_socket, request, serving, stored_in, until


async def publish(node: Node, channel: str, *messages: str) -> list[str]:
    return [
        str(
            (
                await node.publish(
                    Notification.parse({"message": message}), channel, producer="test"
                )
            ).position
        )
        for message in messages
    ]


async def fetch(client: AsyncHTTPClient, url: str) -> HTTPResponse:
    return await client.fetch(url, raise_error=False)


async def test_history_is_the_oldest_first(
    node: Node, http_client: AsyncHTTPClient, base_url: str
) -> None:
    positions = await publish(node, "a", "1", "2", "3")
    response = await fetch(http_client, f"{base_url}/channels/a/history")
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    page = json.loads(response.body)
    assert page.keys() == {"channel", "position", "recovered", "next", "publications"}
    assert (page["channel"], page["position"]) == ("a", positions[-1])
    assert (page["recovered"], page["next"]) == (True, None)
    assert [p["position"] for p in page["publications"]] == positions
    assert page["publications"][0].keys() == {"position", "offset", "id", "time", "message"}


async def test_history_is_read_page_by_page(
    node: Node, http_client: AsyncHTTPClient, base_url: str
) -> None:
    await publish(node, "a", *"1234567")
    since, messages = "all", []
    for _ in range(3):
        response = await fetch(http_client, f"{base_url}/channels/a/history?limit=3&since={since}")
        page = json.loads(response.body)
        messages.append([p["message"] for p in page["publications"]])
        since = page["next"]
    assert messages == [list("123"), list("456"), list("7")]
    assert since is None


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("all", "123"),
        ("latest", ""),
        ("-2", "23"),
        ("10m", "123"),
        ("2099-01-01T00:00:00Z", ""),
        ("2001-01-01T00:00:00%2B01:00", "123"),
        ("{0}", "23"),
        ("a={1};t=1", "3"),
        ("", "123"),
    ],
)
async def test_since_says_where_to_begin(
    node: Node, http_client: AsyncHTTPClient, base_url: str, since: str, expected: str
) -> None:
    positions = await publish(node, "a", "1", "2", "3")
    url = f"{base_url}/channels/a/history?since={since.format(*positions)}"
    page = json.loads((await fetch(http_client, url)).body)
    assert [p["message"] for p in page["publications"]] == list(expected)
    assert page["recovered"] is True
    assert page["position"] == positions[-1]


async def test_what_is_lost_is_told_as_a_gap() -> None:
    async with serving(history_size=2) as server:
        positions = await publish(server.node, "a", *"1234")
        answer = await request(server.port, "GET", f"/channels/a/history?since={positions[0]}")
        assert answer.json["recovered"] is False
        assert answer.json["gap"] == {"after": positions[0], "before": positions[2]}
        assert [p["message"] for p in answer.json["publications"]] == ["3", "4"]


async def test_an_ephemeral_channel_has_no_history() -> None:
    async with serving(namespaces={"now": {"history_size": 0}}) as server:
        async with raw_socket(server.port, "/ws?channel=now:a"):
            await publish(server.node, "now:a", "1")
            answer = await request(server.port, "GET", "/channels/now:a/history")
        assert answer.json == {
            "channel": "now:a",
            "position": None,
            "recovered": None,
            "next": None,
            "publications": [],
        }


async def test_a_channel_nobody_knows_is_404(server: Server) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        answer = await request(server.port, method, "/channels/new/history")
        assert answer.status == 404
        if method != "HEAD":
            assert answer.code == 40402
            assert answer.json["error"]["channel"] == "new"


async def test_a_channel_exists_while_somebody_listens() -> None:
    async with serving(namespaces={"now": {"history_size": 0}}) as server:
        for name in ("new", "now:a"):
            path = f"/channels/{name}/history"
            async with raw_socket(server.port, f"/ws?channel={name}") as socket:
                assert (await socket.message())["type"] == "subscribed"
                answer = await request(server.port, "GET", path)
                assert (answer.status, answer.json["publications"]) == (200, [])
                assert answer.json["next"] is None
                reply = await socket.ask({"type": "history", "channel": name})
                assert reply["result"] == answer.json
                deleted = await request(server.port, "DELETE", path)
                assert deleted.json == {"channel": name, "deleted": 0}
            await until(lambda: not server.node.connections)
            assert (await request(server.port, "GET", path)).code == 40402


async def test_the_websocket_command_knows_no_channel_either(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        error = await socket.ask({"type": "history", "channel": "new", "ref": 1})
        assert (error["type"], error["code"], error["channel"]) == ("error", 40402, "new")


async def test_a_channel_whose_history_is_gone_is_still_known() -> None:
    async with serving(history_ttl=0.001) as server:
        (position,) = await publish(server.node, "a", "1")
        await asyncio.sleep(0.01)
        answer = await request(server.port, "GET", "/channels/a/history")
        assert (answer.status, answer.json["position"]) == (200, position)


# --- the other end first, a stretch of it, a key ---


async def test_the_newest_may_come_first(server: Server) -> None:
    await publish(server.node, "a", *"1234567")
    before, pages = "", []
    for _ in range(3):
        path = f"/channels/a/history?order=newest&limit=3{before}"
        page = (await request(server.port, "GET", path)).json
        pages.append("".join(p["message"] for p in page["publications"]))
        before = f"&before={page['next']}"
    assert pages == ["765", "432", "1"]
    assert page["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("before={2}", "12"),
        ("before={0}", ""),
        ("since={0}&before={3}", "23"),
        ("since={0}&before={3}&order=newest", "32"),
        ("since=-3&order=newest&limit=2", "54"),
        ("since=-3&order=oldest&limit=2", "34"),
        ("key=even", "24"),
        ("key=even&order=newest", "42"),
        ("key=even&limit=1", "2"),
        ("key=none", ""),
    ],
)
async def test_a_stretch_of_history(server: Server, query: str, expected: str) -> None:
    positions = []
    for message in "12345":
        fields = {"message": message, "key": "even" if int(message) % 2 == 0 else "odd"}
        body = json.dumps(fields).encode()
        positions.append((await request(server.port, "POST", "/notify/a", body=body)).json)
    places = [answer["position"] for answer in positions]
    path = f"/channels/a/history?{query.format(*places)}"
    answer = await request(server.port, "GET", path)
    assert answer.status == 200
    assert "".join(p["message"] for p in answer.json["publications"]) == expected


async def test_a_key_may_be_any_printable_text(server: Server) -> None:
    body = json.dumps({"message": "m", "key": "ключ 1"}).encode()
    await request(server.port, "POST", "/notify/a", body=body)
    answer = await request(server.port, "GET", f"/channels/a/history?key={quote('ключ 1')}")
    assert len(answer.json["publications"]) == 1


# --- deleting ---


async def test_a_deleted_history_is_gone_and_offsets_go_on(server: Server) -> None:
    positions = await publish(server.node, "a", *"123")
    path = "/channels/a/history"
    answer = await request(server.port, "DELETE", path)
    assert (answer.status, answer.json) == (200, {"channel": "a", "deleted": 3})
    page = (await request(server.port, "GET", path)).json
    assert (page["publications"], page["position"]) == ([], positions[-1])
    (after,) = await publish(server.node, "a", "4")
    assert Position.parse(after) == Position(Position.parse(positions[0]).epoch, 4)
    page = (await request(server.port, "GET", f"{path}?since={positions[0]}")).json
    assert page["recovered"] is False
    assert page["gap"] == {"after": positions[0], "before": after}


async def test_deleting_does_not_disturb_who_listens(server: Server) -> None:
    await publish(server.node, "a", "1")
    async with raw_socket(server.port, "/ws?channel=a") as socket:
        assert (await socket.message())["type"] == "subscribed"
        assert (await request(server.port, "DELETE", "/channels/a/history")).status == 200
        await publish(server.node, "a", "2")
        assert (await socket.message())["message"] == "2"


async def test_nothing_is_deleted_for_an_unknown_parameter(server: Server) -> None:
    await publish(server.node, "a", "1")
    answer = await request(server.port, "DELETE", "/channels/a/history?before=x")
    assert answer.code == 40002
    assert len(await stored_in(server.port, "a")) == 1


@pytest.mark.parametrize("name", ["builds:main", "été", "a@b"])
async def test_the_channel_is_percent_decoded(server: Server, name: str) -> None:
    await publish(server.node, name, "1")
    answer = await request(server.port, "GET", f"/channels/{quote(name, safe='')}/history")
    assert answer.json["channel"] == name
    assert len(answer.json["publications"]) == 1


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        ("/channels/a%20b/history", 40004, "channel"),
        ("/channels/%FF/history", 40004, "channel"),
        ("/channels/a/history?since=yesterday", 40005, "since"),
        ("/channels/a/history?since=a:b", 40005, "since"),
        ("/channels/a/history?since=a=b;t=1", 40005, "since"),
        ("/channels/a/history?since=%FF", 40006, "since"),
        ("/channels/a/history?since=" + "9" * 5000, 43101, None),
        ("/channels/a/history?since=99999999999999d", 40005, "since"),
        ("/channels/a/history?limit=0", 40006, "limit"),
        ("/channels/a/history?limit=1001", 40006, "limit"),
        ("/channels/a/history?limit=-1", 40006, "limit"),
        ("/channels/a/history?limit=ten", 40006, "limit"),
        ("/channels/a/history?limit=" + "9" * 5000, 40006, "limit"),
        ("/channels/a/history?limit=%D9%A3", 40006, "limit"),
        ("/channels/a/history?limt=1", 40002, "limt"),
        ("/channels/a/history?before=1", 40006, "before"),
        ("/channels/a/history?before=", 40006, "before"),
        ("/channels/a/history?before=x:1", 40006, "before"),
        ("/channels/a/history?order=up", 40006, "order"),
        ("/channels/a/history?key=", 40006, "key"),
        ("/channels/a/history?key=" + "k" * 201, 40006, "key"),
        ("/channels/a/history?key=%0A", 40006, "key"),
        ("/channels/a*/history", 40004, "channel"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    server: Server, path: str, code: int, field: str | None
) -> None:
    await publish(server.node, "a", "1")
    answer = await request(server.port, "GET", path)
    assert (answer.status, answer.code) == (code // 100, code)
    assert answer.json["error"].get("field") == field
    if code == 40002:
        assert answer.json["error"]["nearest"] == "limit"


@pytest.mark.parametrize(
    "since",
    [
        "-999999999",
        "999999999999w",
        "0",
        "9999-12-31T23:59:59Z",
        "x:999999999999999999",
        ";t=999999999999",
        "a=x:1;t=0",
        "0001-01-01T00:00:00%2B14:00",
    ],
)
async def test_absurd_places_are_no_fault_of_ours(server: Server, since: str) -> None:
    await publish(server.node, "a", "1")
    answer = await request(server.port, "GET", f"/channels/a/history?since={since}")
    assert answer.status in (200, 400)
