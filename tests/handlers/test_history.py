"""``/channels/<name>/history``."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from notifier.node import Node
from notifier.notification import Notification
from notifier.server import Server
from tests.handlers.serving import request, serving


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
        await publish(server.node, "now:a", "1")
        answer = await request(server.port, "GET", "/channels/now:a/history")
        assert answer.json == {
            "channel": "now:a",
            "position": None,
            "recovered": None,
            "next": None,
            "publications": [],
        }


async def test_a_channel_nobody_published_to_is_empty(server: Server) -> None:
    answer = await request(server.port, "GET", "/channels/new/history")
    assert answer.status == 200
    assert answer.json["publications"] == []
    assert answer.json["position"].endswith(":0")


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
    ],
)
async def test_what_cannot_be_read_is_refused(
    server: Server, path: str, code: int, field: str | None
) -> None:
    answer = await request(server.port, "GET", path)
    assert (answer.status, answer.code) == (code // 100, code)
    assert answer.json["error"].get("field") == field


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
