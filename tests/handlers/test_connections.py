"""Connections and subscriptions that are ended from outside, on every transport."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.server import Server
from tests.handlers.serving import (
    Answer,
    head,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)


async def delete(server: Server, path: str) -> Answer:
    return await request(server.port, "DELETE", f"/connections/{path}")


async def only(server: Server) -> str:
    """The id of the one connection there is, when there is one that follows something."""
    await until(lambda: server.node.counts.subscriptions > 0)
    (connection,) = server.node.connections.values()
    return connection.id


def code(server: Server, number: int) -> int:
    return server.node.counts.errors[number]


async def test_websocket_is_closed_for_good(server: Server) -> None:
    async with raw_socket(server.port, "/ws?channel=a") as client:
        assert (await client.message())["type"] == "subscribed"
        connection = await only(server)
        answer = await delete(server, connection)
        assert (answer.status, answer.json) == (200, {"connection": connection, "ended": True})
        assert server.node.counts.subscriptions == 0, "at once"
        closing, reason = await client.closed(answer=True)
        assert closing == 4502 and "ended" in reason
        await until(lambda: not server.node.connections)
        traffic = server.node.counts.traffic["websocket"]
        assert traffic.closed["4502"] == 1
        assert (await delete(server, connection)).code == 40403


@pytest.mark.parametrize("path", ["/raw/a", "/echo"])
async def test_connection_without_messages_of_its_own_is_closed_too(
    server: Server, path: str
) -> None:
    async with raw_socket(server.port, path) as client:
        await until(lambda: len(server.node.connections) == 1)
        (connection,) = server.node.connections.values()
        assert (await delete(server, connection.id)).status == 200
        assert (await client.closed(answer=True))[0] == 4502


@pytest.mark.parametrize(
    ("path", "told"), [("/events", b"event: refused\n"), ("/stream", b'{"type":"error"')]
)
async def test_stream_is_told_and_ended(server: Server, path: str, told: bytes) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("GET", f"{path}?channel=a"))
        assert (await wire.answer_head()).status == 200
        connection = await only(server)
        assert (await delete(server, connection)).status == 200
        body = await wire.ended()
        assert told in body and b"41002" in body
        assert body.endswith(b"0\r\n\r\n"), "in good order"
        if path == "/events":
            # So long does EventSource wait before it comes back.
            assert body.index(b"retry: 86400000") < body.index(told)
        assert code(server, 41002) == 1


async def test_subscription_is_ended_and_the_connection_goes_on(server: Server) -> None:
    async with raw_socket(server.port, "/ws?channel=a&channel=b:*") as client:
        assert [(await client.message())["channel"] for _ in range(2)] == ["a", "b:*"]
        connection = await only(server)
        for name, quoted in (("a", "a"), ("b:*", "b%3A*")):
            answer = await delete(server, f"{connection}/subscriptions/{quoted}")
            assert answer.status == 200
            assert answer.json == {"connection": connection, "channel": name, "ended": True}
            message = await client.message()
            assert (message["type"], message["channel"]) == ("unsubscribed", name)
            assert message["code"] == 41001 and "ended" in message["reason"]
            again = await delete(server, f"{connection}/subscriptions/{quoted}")
            assert (again.status, again.code) == (404, 40404)
            assert again.json["error"]["connection"] == connection
            assert again.json["error"]["channel"] == name
        await request(server.port, "POST", "/notify/a", body=b"not for it")
        assert (await client.ask({"type": "ping"}))["type"] == "reply"
        again = await client.ask({"type": "subscribe", "channel": "a"})
        assert again["type"] == "subscribed", "nothing keeps it from that"


@pytest.mark.parametrize("path", ["/events", "/stream"])
async def test_stream_of_several_channels_goes_on_until_the_last_is_taken(
    server: Server, path: str
) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("GET", f"{path}?channel=a&channel=b"))
        assert (await wire.answer_head()).status == 200
        await until(lambda: server.node.counts.subscriptions == 2)
        connection = await only(server)
        assert (await delete(server, f"{connection}/subscriptions/a")).status == 200
        await request(server.port, "POST", "/notify/a", body=b"not for it")
        await request(server.port, "POST", "/notify/b", body=b"for it")
        assert (await delete(server, f"{connection}/subscriptions/b")).status == 200
        body = await wire.ended()
        assert b"not for it" not in body
        parts = [b'"type":"unsubscribed","channel":"a","code":41001', b"for it", b"41001"]
        places = [body.index(parts[0]), body.index(parts[1]), body.rindex(parts[2])]
        assert places == sorted(places)
        assert body.count(b'"type":"unsubscribed"') == 1 and body.endswith(b"0\r\n\r\n")


async def test_raw_connection_is_for_its_channel_alone(server: Server) -> None:
    async with raw_socket(server.port, "/raw/a") as client:
        connection = await only(server)
        assert (await delete(server, f"{connection}/subscriptions/b")).code == 40404
        assert (await delete(server, f"{connection}/subscriptions/a")).status == 200
        assert (await client.closed(answer=True))[0] == 4502


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("nobody", 40403),
        ("nobody?now=1", 40002),
        ("nobody/subscriptions/a", 40404),
        ("nobody/subscriptions/a%20b", 40004),
        ("nobody/subscriptions/a?now=1", 40002),
    ],
)
async def test_what_is_not_there_or_not_asked_rightly_is_refused(
    server: Server, path: str, number: int
) -> None:
    assert (await delete(server, path)).code == number


async def test_members_leave_that_are_sent_away() -> None:
    async with (
        serving(presence=True) as server,
        raw_socket(server.port, "/ws?channel=a&presence=1") as watcher,
        raw_socket(server.port, "/ws?channel=a") as other,
    ):
        heard: list[Any] = []
        while len(heard) < 3:
            heard.append(await watcher.message())
        assert [message["type"] for message in heard] == ["subscribed", "presence", "presence"]
        member = heard[-1]["member"]
        assert (await delete(server, member["connection"])).status == 200
        left = await watcher.message()
        assert (left["event"], left["member"], left["count"]) == ("leave", member, 1)
        assert (await other.closed(answer=True))[0] == 4502
