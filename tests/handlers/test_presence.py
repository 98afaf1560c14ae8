"""Who is on a channel, on every transport, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from notifier.auth.issuing import make_token, signing_secret
from notifier.config import NamespaceSettings
from notifier.server import Server
from tests.auth.signing import SECRET
from tests.frames import TEXT
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    RawSocket,
    Wire,
    head,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)
from tests.redisservers.server import RedisServer

DARK = {"dark": NamespaceSettings(presence=False)}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(presence=True, presence_members=3, namespaces=DARK) as server:
        yield server


class Stream(Wire):
    """A response without an end, of events or of lines."""

    async def begin(self, path: str) -> None:
        await self.send(head("GET", path))
        async with asyncio.timeout(PATIENCE):
            answer = await self.reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        self.body = b""

    async def message(self) -> Any:
        """The next message; of an event its name must be the message's type."""
        while True:
            mark = b"\n" if self.body.startswith(b"{") else b"\n\n"
            block, found, rest = self.body.partition(mark)
            if not found:
                await self._read()
                continue
            self.body = rest
            if block.startswith(b"{"):
                return json.loads(block)
            fields = dict(
                line.split(": ", 1) for line in block.decode().split("\n") if line[:1] != ":"
            )
            if "data" in fields:
                message = json.loads(fields["data"])
                assert fields.get("event", "notification") == message["type"]
                assert message["type"] != "presence" or "id" not in fields
                return message

    async def _read(self) -> None:
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            assert size, "the response has ended"
            self.body += (await self.reader.readexactly(size + 2))[:-2]


Client = RawSocket | Stream


@asynccontextmanager
async def connect(server: Server, path: str) -> AsyncIterator[Any]:
    """A client on any transport, by its path."""
    if path.startswith(("/ws", "/raw")):
        async with raw_socket(server.port, path) as client:
            yield client
        return
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    stream = Stream(reader, writer)
    try:
        await stream.begin(path)
        yield stream
    finally:
        stream.close()


async def presence(client: Client) -> tuple[Any, ...]:
    """The next message, in short: event, how many, and the transports of those it names."""
    message = await client.message()
    assert message["type"] == "presence", message
    named = message["members"] if "members" in message else [message.get("member")]
    transports = None if named is None else [one["transport"] for one in named if one]
    return (message["event"], message["count"], transports)


async def joined(client: Client) -> Any:
    message = await client.message()
    assert message["type"] == "subscribed", message
    return message


async def members(server: Server, channel: str) -> Any:
    answer = await request(server.port, "GET", f"/channels/{channel}/presence")
    assert answer.status == 200
    return answer.json


async def nothing_more(client: RawSocket) -> None:
    assert (await client.ask({"type": "ping"}))["type"] == "reply"


WATCHERS = ["/ws", "/events", "/stream"]
every_watcher = pytest.mark.parametrize("path", WATCHERS)
EVERYBODY = {
    "/ws?channel=a": "websocket",
    "/events?channel=a": "events",
    "/stream?channel=a": "stream",
    "/raw/a": "raw",
    "/raw/a?echo=0": "raw",
}


@every_watcher
async def test_a_watcher_is_told_who_is_there_then_who_joins_and_leaves(
    server: Server, path: str
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(connect(server, "/raw/a"))
        await until(lambda: server.node._presence.of("a").count == 1)
        watcher = await stack.enter_async_context(connect(server, f"{path}?channel=a&presence=1"))
        await joined(watcher)
        now = await watcher.message()
        assert list(now) == ["type", "channel", "event", "count", "members"]
        assert (now["channel"], now["event"], now["count"]) == ("a", "now", 2)
        for other, transport in EVERYBODY.items():
            async with connect(server, other):
                came = await watcher.message()
                assert list(came) == ["type", "channel", "event", "member", "count"]
                assert (came["event"], came["count"]) == ("join", 3)
                member = came["member"]
                assert member.keys() == {"connection", "transport", "since", "node"}
                assert member["transport"] == transport
                assert re.fullmatch(r"[-\w]{16}", member["connection"])
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", member["since"])
                assert member in (await members(server, "a"))["members"]
            left = await watcher.message()
            assert (left["event"], left["count"]) == ("leave", 2)
            assert left["member"] == member, "the same, to the last word"
        assert await members(server, "a") == {"channel": "a", "count": 2, "members": now["members"]}


async def test_a_client_is_told_who_is_there_between_subscribed_and_what_was_missed(
    server: Server,
) -> None:
    await request(server.port, "POST", "/notify/a", body=b"old")
    for path in WATCHERS:
        async with connect(server, f"{path}?channel=a&presence=1&since=all") as client:
            kinds = [(await client.message())["type"] for _ in range(3)]
            assert kinds == ["subscribed", "presence", "notification"]


async def test_commands_subscribe_with_presence_and_ask_who_is_there(server: Server) -> None:
    async with raw_socket(server.port) as one, raw_socket(server.port) as two:
        answer = await one.ask({"type": "subscribe", "channel": "a", "presence": True, "ref": 1})
        assert (answer["type"], answer["ref"]) == ("subscribed", 1)
        assert await presence(one) == ("now", 1, ["websocket"])
        await two.ask({"type": "subscribe", "channel": "a", "presence": False})
        assert await presence(one) == ("join", 2, ["websocket"])
        reply = await two.ask({"type": "presence", "channel": "a", "ref": "p"})
        assert (reply["type"], reply["ref"]) == ("reply", "p")
        assert reply["result"] == await members(server, "a")
        assert reply["result"]["count"] == 2
        await two.ask({"type": "unsubscribe", "channel": "a"})
        assert await presence(one) == ("leave", 1, ["websocket"])
        await nothing_more(two)
        # Who comes back is a member anew.
        await two.ask({"type": "subscribe", "channel": "a"})
        assert await presence(one) == ("join", 2, ["websocket"])
        await one.ask({"type": "unsubscribe", "channel": "a"})
        await two.ask({"type": "unsubscribe", "channel": "a"})
        await nothing_more(one)


async def test_one_that_vanishes_or_is_cut_off_has_left(server: Server) -> None:
    async with connect(server, "/ws?channel=a&presence=1") as watcher:
        await joined(watcher)
        assert (await presence(watcher))[0] == "now"
        for path in EVERYBODY:
            async with connect(server, path) as other:
                joining = await presence(watcher)
                assert joining[:2] == ("join", 2)
                other.reset()
                assert await presence(watcher) == ("leave", 1, joining[2])
        async with connect(server, "/events?channel=a"):
            assert await presence(watcher) == ("join", 2, ["events"])
            (cut,) = [
                connection
                for connection in server.node.connections.values()
                if connection.sink.traffic.transport == "events"
            ]
            cut.sink.abort()
            assert await presence(watcher) == ("leave", 1, ["events"])


async def test_who_is_sent_away_when_the_node_leaves_has_left(server: Server) -> None:
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(connect(server, "/ws?channel=a&presence=1"))
        await joined(watcher)
        assert (await presence(watcher))[0] == "now"
        (own,) = server.node.connections.values()
        for path in ("/ws?channel=a", "/stream?channel=a"):
            await stack.enter_async_context(connect(server, path))
            assert (await presence(watcher))[0] == "join"
        for connection in list(server.node.connections.values()):
            connection.reconnect(1000)
        assert (await watcher.message())["type"] == "reconnect"
        for connection in list(server.node.connections.values()):
            if connection is not own:
                connection.dismiss()
        # At once, though their connections linger; the watcher hears of it until it goes too.
        left = [await presence(watcher), await presence(watcher)]
        assert left == [("leave", 2, ["websocket"]), ("leave", 1, ["stream"])]
        assert (await watcher.ask({"type": "presence", "channel": "a"}))["result"]["count"] == 1
        own.dismiss()
        assert (await watcher.closed(answer=True))[0] == 4000
        assert server.node._presence._rosters == {}


@every_watcher
async def test_a_pattern_tells_of_each_of_its_channels_that_shows_presence(
    server: Server, path: str
) -> None:
    for channel in ("b:1", "dark:1"):
        await request(server.port, "POST", f"/notify/{channel}", body=b"old")
    async with connect(server, f"{path}?channel=*:1&presence=1") as watcher:
        messages = [await watcher.message() for _ in range(4)]
        assert [(m["type"], m["channel"]) for m in messages] == [
            ("subscribed", "b:1"),
            ("presence", "b:1"),
            ("subscribed", "dark:1"),
            ("subscribed", "*:1"),
        ]
        async with connect(server, "/ws?channel=dark:1"), connect(server, "/ws?channel=b:1"):
            assert (await watcher.message())["channel"] == "b:1"
        assert (await presence(watcher))[0] == "leave"
        await request(server.port, "POST", "/notify/c:1", body=b"born")
        messages = [await watcher.message() for _ in range(3)]
        assert [(m["type"], m["channel"]) for m in messages] == [
            ("subscribed", "c:1"),
            ("presence", "c:1"),
            ("notification", "c:1"),
        ]


@every_watcher
async def test_asking_where_it_is_off_is_refused_before_anything_begins(
    server: Server, path: str
) -> None:
    headers = HANDSHAKE if path == "/ws" else {}
    for query in ("channel=dark:1&presence=1", "channel=a&channel=dark:1&presence=1"):
        answer = await request(server.port, "GET", f"{path}?{query}", headers=headers)
        assert (answer.status, answer.code) == (409, 40904)
        assert answer.json["error"]["channel"] == "dark:1"
    answer = await request(server.port, "GET", f"{path}?channel=a&presence=yes", headers=headers)
    assert (answer.status, answer.code) == (400, 40006)


async def test_asking_by_command_where_it_is_off_leaves_the_connection_as_it_was(
    server: Server,
) -> None:
    async with raw_socket(server.port) as client:
        command = {"type": "subscribe", "channel": "dark:1", "presence": True, "ref": 1}
        refusal = await client.ask(command)
        assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", 40904, 1)
        refusal = await client.ask(command | {"presence": 1})
        assert (refusal["code"], refusal["field"]) == (40003, "presence")
        assert (await client.ask(command | {"presence": False}))["type"] == "subscribed"
        result = (await client.ask({"type": "presence", "channel": "dark:1"}))["result"]
        assert result == {"channel": "dark:1", "count": 1, "members": None}
        refusal = await client.ask({"type": "presence", "channel": "nobody"})
        assert (refusal["type"], refusal["code"]) == ("error", 40402)


async def test_the_answer_counts_always_and_lists_where_it_may(server: Server) -> None:
    answer = await request(server.port, "GET", "/channels/a/presence")
    assert (answer.status, answer.code) == (404, 40402)
    answer = await request(server.port, "GET", "/channels/a%20b/presence")
    assert (answer.status, answer.code) == (400, 40004)
    answer = await request(server.port, "GET", "/channels/a/presence?limit=1")
    assert (answer.status, answer.code) == (400, 40002)
    await request(server.port, "POST", "/notify/a", body=b"hi")
    assert await members(server, "a") == {"channel": "a", "count": 0, "members": []}
    async with AsyncExitStack() as stack:
        for count in range(1, 6):
            client = await stack.enter_async_context(
                connect(server, "/ws?channel=a&channel=dark:1")
            )
            await joined(client)
            await joined(client)
            answer = await members(server, "a")
            assert answer["count"] == count
            assert (answer["members"] is None) == (count > 3)
            assert await members(server, "dark:1") == {
                "channel": "dark:1",
                "count": count,
                "members": None,
            }


async def test_an_echo_and_a_poll_are_on_no_channel(server: Server) -> None:
    await request(server.port, "POST", "/notify/a", body=b"hi")
    async with raw_socket(server.port, "/echo"), wire_to(server.port) as wire:
        await wire.send(head("GET", "/stream?channel=a&poll=1"))
        assert (await wire.answer()).status == 200
        assert (await members(server, "a"))["count"] == 0
    answer = await request(server.port, "GET", "/stream?channel=a&poll=1&presence=1")
    assert (answer.status, answer.code) == (400, 40006)


async def test_raw_connections_never_hear_of_it(server: Server) -> None:
    async with connect(server, "/raw/a") as raw, connect(server, "/ws?channel=a") as other:
        await joined(other)
        await request(server.port, "POST", "/notify/a", body=b"hi")
        assert await raw.frame() == (TEXT, b"hi")


@every_watcher
async def test_too_many_are_counted_about_once_a_second(server: Server, path: str) -> None:
    async with AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(connect(server, f"{path}?channel=a&presence=1"))
        await joined(watcher)
        assert (await presence(watcher))[:2] == ("now", 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        crowd = [
            await stack.enter_async_context(connect(server, "/ws?channel=a")) for _ in range(40)
        ]
        for client in crowd:
            await joined(client)
        assert [await presence(watcher) for _ in range(2)] == [
            ("join", 2, ["websocket"]),
            ("join", 3, ["websocket"]),
        ]
        told = [await presence(watcher)]
        while told[-1][1] < 41:
            told.append(await presence(watcher))
        assert all((event, listed) == ("count", []) for event, _, listed in told)
        assert len(told) < 2 + loop.time() - began, "not one for each"
        for client in crowd[1:]:
            client.reset()
        while (last := await presence(watcher))[0] == "count":
            pass
        assert last[0] == "now" and last[1] <= 3 and len(last[2]) == last[1]


async def test_a_watcher_that_does_not_read_is_cut_off_and_the_others_hear_all() -> None:
    async with serving(presence=True, max_pending_bytes=4096) as server, AsyncExitStack() as stack:
        stuck = stack.enter_context(socket.socket())
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stuck.connect(("127.0.0.1", server.port))
        stuck.sendall(head("GET", "/stream?channel=a&presence=1"))
        await until(lambda: server.node._presence.of("a").count == 1)
        (connection,) = server.node.connections.values()
        # What the kernel holds for it is no concern of ours, so let it be little.
        own: Any = connection.sink._stream
        own._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)

        watcher = await stack.enter_async_context(connect(server, "/ws?channel=a&presence=1"))
        await joined(watcher)
        now = await watcher.message()
        present = {member["connection"] for member in now["members"]}
        assert len(present) == now["count"] == 2
        events: list[Any] = []

        async def listen() -> None:
            while True:
                events.append(await watcher.message())

        listening = asyncio.create_task(listen())
        rounds, most = 0, 0
        async with raw_socket(server.port) as other:
            while not connection.sink.closed:
                rounds += 1
                assert (await other.ask({"type": "subscribe", "channel": "a"}))["position"]
                assert (await other.ask({"type": "unsubscribe", "channel": "a"}))["code"] == 0
                most = max(most, own.pending())
        assert 0 < most <= 4096 + 1024, "a few more than it may leave unread"
        # Of the other all that it did; of the stuck one that it has left.
        await until(lambda: len(events) >= 2 * rounds + 1)
        listening.cancel()
        for event in events:
            one = {event["member"]["connection"]}
            present = present | one if event["event"] == "join" else present - one
            assert len(present) == event["count"]
        left = [e["member"]["transport"] for e in events if e["event"] == "leave"]
        assert (left.count("websocket"), left.count("stream")) == (rounds, 1)


async def test_members_are_told_with_who_their_tokens_are_of() -> None:
    info = {"name": "Zoë", "teams": ["db", None]}
    granted = {"channels": ["a"], "exp": time.time() + 600}
    signing = signing_secret(SECRET)
    shown = make_token({"sub": "42", "info": info, **granted}, signing)
    plain = make_token({"sub": "43", **granted}, signing)
    public = {"who_may_subscribe": "public", "who_may_see_presence": "public"}
    async with serving(presence=True, token_secret=SECRET, **public) as server:
        async with raw_socket(server.port, "/ws?channel=a&presence=1") as watcher:
            await joined(watcher)
            (nobody,) = (await watcher.message())["members"]
            assert not nobody.keys() & {"user", "info"}
            async with raw_socket(server.port, "/ws") as socket:
                await socket.ask({"type": "authenticate", "token": shown})
                await socket.ask({"type": "subscribe", "channel": "a"})
                member = (await watcher.message())["member"]
                assert (member["user"], member["info"]) == ("42", info)
                await socket.ask({"type": "unsubscribe", "channel": "a"})
                assert (await watcher.message())["member"] == member
                await socket.ask({"type": "authenticate", "token": plain})
                await socket.ask({"type": "subscribe", "channel": "a"})
                member = (await watcher.message())["member"]
                assert member["user"] == "43" and "info" not in member
                answer = await request(server.port, "GET", "/channels/a/presence")
                assert json.loads(answer.body)["members"] == [nobody, member]


@pytest.mark.parametrize("nodes", [1, 2])
async def test_who_becomes_somebody_else_is_told_as_that(
    redis_server: RedisServer, nodes: int
) -> None:
    signing = signing_secret(SECRET)

    def token(sub: str, **claims: Any) -> str:
        granted = {"sub": sub, "channels": ["a"], "exp": time.time() + 600}
        return make_token({**granted, **claims}, signing)

    brokers = {"broker": redis_server.url, "redis_prefix": f"anew{time.time_ns()}"}
    public = {"who_may_subscribe": "public", "who_may_see_presence": "public"}
    everything = {"presence": True, "token_secret": SECRET, **public, **brokers}
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(**everything)) for _ in range(nodes)]
        ann = {"Authorization": f"Bearer {token('42', info={'name': 'Ann'})}"}
        socket = await stack.enter_async_context(raw_socket(servers[0].port, "/ws?channel=a", ann))
        await joined(socket)
        watcher = await stack.enter_async_context(
            raw_socket(servers[-1].port, "/ws?channel=a&presence=1")
        )
        await joined(watcher)
        now = await watcher.message()
        (before,) = [member for member in now["members"] if "user" in member]
        # Who stays the same is not told of, whatever else its token says.
        for fresh in (token("42", info={"name": "Ann"}, jti="new"), token("43")):
            assert (await socket.ask({"type": "authenticate", "token": fresh}))["type"] == "reply"
        left, came = await watcher.message(), await watcher.message()
        assert (left["event"], left["member"], left["count"]) == ("leave", before, 1)
        assert (came["event"], came["count"]) == ("join", 2)
        after = {name: value for name, value in before.items() if name != "info"} | {"user": "43"}
        assert came["member"] == after
        for server in servers:
            answer = await request(server.port, "GET", "/channels/a/presence")
            assert after in json.loads(answer.body)["members"]


@pytest.mark.parametrize("name", ["b:*", "b:one"])
async def test_who_shows_a_lesser_token_hears_of_nobody_any_more(name: str) -> None:
    """Not of channels that are born later, nor when it asks for presence elsewhere."""
    signing = signing_secret(SECRET)
    end = time.time() + 600
    full = make_token({"sub": "42", "channels": ["b:*", "c:*"], "exp": end}, signing)
    lesser = make_token({"sub": "42", "channels": ["c:*"], "exp": end}, signing)
    public = {"who_may_subscribe": "public", "who_may_publish": "public"}
    async with serving(presence=True, token_secret=SECRET, **public) as server:
        await request(server.port, "POST", "/notify/b:one", body=b"here")
        shown = {"Authorization": f"Bearer {full}"}
        path = f"/ws?channel={name}&presence=1"
        async with raw_socket(server.port, path, shown) as socket:
            begun: set[str] = set()
            while not begun >= {"presence b:one", f"subscribed {name}"}:
                message = await socket.message()
                begun.add(f"{message['type']} {message.get('channel', message.get('pattern'))}")
            assert (await socket.ask({"type": "authenticate", "token": lesser}))["type"] == "reply"
            asked = {"type": "subscribe", "channel": "c:*", "presence": True, "ref": 1}
            assert (await socket.ask(asked))["type"] == "subscribed"
            heard = []
            async with raw_socket(server.port, "/ws?channel=b:one&channel=b:two&channel=c:1"):
                for channel in ("b:one", "b:two", "c:1"):
                    await request(server.port, "POST", f"/notify/{channel}", body=b"x")
                while not heard or heard[-1]["channel"] != "c:1" or "event" not in heard[-1]:
                    heard.append(await socket.message())
            of = {message["channel"] for message in heard if message["type"] == "presence"}
            assert of == {"c:1"}
