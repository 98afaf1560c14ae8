"""The native protocol end to end: ``/ws`` of a real server, seen by clients good and bad."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from notifier.server import Server
from notifier.wire.resume import ResumeToken
from tests.frames import BINARY, CLOSE, PING, PONG, client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    raw_socket,
    request,
    serving,
    stored_in,
    until,
    wire_to,
)

POSITION = re.compile(r"[0-9A-Za-z]{8}:\d+")


class Client:
    """A well-behaved client, the ``websockets`` one."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def message(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            text = await self.connection.recv()
        assert isinstance(text, str)
        assert text.startswith('{"type":"'), "type stands first"
        return json.loads(text)

    async def ask(self, message: object) -> Any:
        await self.connection.send(json.dumps(message))
        return await self.message()

    async def closed(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as closing:
            while True:
                async with asyncio.timeout(PATIENCE):
                    await self.connection.recv()
        assert closing.value.rcvd is not None
        return closing.value.rcvd.code, closing.value.rcvd.reason


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client that has been welcomed."""
    async with connect(f"ws://localhost:{server.port}/ws") as connection:
        client = Client(connection)
        assert (await client.message())["type"] == "welcome"
        yield client


async def publish(server: Server, channel: str, *messages: str) -> list[str]:
    """Publish over HTTP; the positions."""
    positions = []
    for message in messages:
        answer = await request(
            server.port,
            "POST",
            f"/notify/{channel}",
            body=message.encode(),
            headers={"Content-Type": "text/plain"},
        )
        assert answer.status == 200
        positions.append(answer.json["position"])
    return positions


# --- the messages ---


async def test_a_connection_is_welcomed(server: Server) -> None:
    async with connect(f"ws://localhost:{server.port}/ws") as connection:
        welcome = await Client(connection).message()
    assert welcome.keys() == {"type", "connection", "ping_interval_ms", "time", "version"}
    assert welcome["type"] == "welcome"
    assert welcome["ping_interval_ms"] == server.settings.ping_interval * 1000
    assert len(welcome["connection"]) == 16


async def test_what_is_published_arrives(server: Server, client: Client) -> None:
    subscribed = await client.ask({"type": "subscribe", "channel": "a", "ref": "s1"})
    assert subscribed == {
        "type": "subscribed",
        "channel": "a",
        "position": subscribed["position"],
        "recovered": True,
        "ref": "s1",
    }
    assert POSITION.fullmatch(subscribed["position"])
    (position,) = await publish(server, "a", "hello")
    notification = await client.message()
    assert notification == {
        "type": "notification",
        "channel": "a",
        "position": position,
        "offset": 1,
        "id": notification["id"],
        "time": notification["time"],
        "message": "hello",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", notification["time"])


async def test_channels_in_the_url_are_subscribed(server: Server) -> None:
    await publish(server, "a", "1")
    async with raw_socket(server.port, "/ws?channel=a&channel=%C3%A9t%C3%A9&since=all") as socket:
        answers = [await socket.message() for _ in range(3)]
        subscribed = {m["channel"] for m in answers if m["type"] == "subscribed"}
        assert subscribed == {"a", "été"}
        assert [m["message"] for m in answers if m["type"] == "notification"] == ["1"]


async def test_unsubscribing_ends_the_delivery(server: Server, client: Client) -> None:
    await client.ask({"type": "subscribe", "channel": "a"})
    answer = await client.ask({"type": "unsubscribe", "channel": "a", "ref": 5})
    assert answer.keys() == {"type", "channel", "code", "reason", "ref"}
    assert (answer["type"], answer["code"], answer["ref"]) == ("unsubscribed", 0, 5)
    await publish(server, "a", "missed")
    assert (await client.ask({"type": "ping"}))["type"] == "reply"
    again = await client.ask({"type": "unsubscribe", "channel": "a"})
    assert (again["type"], again["code"]) == ("error", 40903)


async def test_subscribing_twice_is_refused_and_changes_nothing(
    server: Server, client: Client
) -> None:
    await client.ask({"type": "subscribe", "channel": "a"})
    refusal = await client.ask({"type": "subscribe", "channel": "a", "since": "all", "ref": 1})
    assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", 40902, 1)
    await publish(server, "a", "once")
    assert (await client.message())["message"] == "once"
    assert (await client.ask({"type": "ping"}))["type"] == "reply"


async def test_a_client_publishes(server: Server, client: Client) -> None:
    await client.ask({"type": "subscribe", "channel": "a"})
    command = {"type": "publish", "channel": "a", "title": "T", "data": None, "ref": "r"}
    await client.connection.send(json.dumps(command))
    messages = [await client.message(), await client.message()]
    reply = next(m for m in messages if m["type"] == "reply")
    notification = next(m for m in messages if m["type"] == "notification")
    assert reply["ref"] == "r"
    assert reply["result"].keys() == {"id", "channel", "position", "subscribers"}
    assert reply["result"]["subscribers"] == 1
    assert notification["position"] == reply["result"]["position"]
    assert notification["data"] is None


async def test_a_client_publishes_to_several_channels_and_repeats_itself(
    server: Server, client: Client
) -> None:
    command = {"type": "publish", "channels": ["a", "b"], "message": "x", "id": "n1"}
    first = await client.ask(command)
    again = await client.ask(command)
    assert first["result"] == again["result"]
    history = await client.ask({"type": "history", "channel": "b"})
    assert len(history["result"]["publications"]) == 1


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        ({"type": "publish", "channel": "a"}, 40003, "message"),
        ({"type": "publish", "message": "x"}, 40004, "channel"),
        ({"type": "publish", "channel": "a b", "message": "x"}, 40004, "channel"),
        ({"type": "publish", "channel": "a", "priority": 9, "message": "x"}, 40003, "priority"),
        ({"type": "publish", "channel": "a", "mesage": "x"}, 40002, "mesage"),
        ({"type": "subscribe"}, 40004, "channel"),
        ({"type": "subscribe", "channel": 7}, 40004, "channel"),
        ({"type": "subscribe", "channel": "a:**"}, 40004, "channel"),
        ({"type": "subscribe", "channel": "a", "since": "yesterday"}, 40005, "since"),
        ({"type": "subscribe", "channel": "a", "since": []}, 40003, "since"),
        ({"type": "subscribe", "channel": "a", "since": "x" * 5000}, 43101, None),
        ({"type": "subscribe", "chanel": "a"}, 40002, "chanel"),
        ({"type": "unsubscribe", "channel": "a"}, 40903, None),
        ({"type": "history", "channel": "a", "limit": 0}, 40003, "limit"),
        ({"type": "history", "channel": "a", "limit": "x"}, 40003, "limit"),
        ({"type": "ping", "x": 1}, 40002, "x"),
        ({"type": "subscrib", "channel": "a"}, 40009, None),
        ({"type": 7}, 40009, None),
        ({"channel": "a"}, 40009, None),
        ({}, 40009, None),
    ],
)
async def test_a_command_that_breaks_a_rule_is_answered_and_the_connection_stays(
    client: Client, command: dict[str, Any], code: int, field: str | None
) -> None:
    for _ in range(5):  # understood as JSON each time: no reason to hang up
        refusal = await client.ask({**command, "ref": "r"})
        assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", code, "r")
        assert refusal.get("field") == field
        assert refusal["docs"].endswith(f"#{code}")
        assert refusal["temporary"] is False
    assert (await client.ask({"type": "ping"}))["type"] == "reply"


async def test_an_unknown_type_is_told_the_nearest(client: Client) -> None:
    assert (await client.ask({"type": "subscrib"}))["nearest"] == "subscribe"


@pytest.mark.parametrize("ref", ["r", "", "x" * 200, 0, -7, 2**53])
async def test_a_ref_comes_back_as_it_was(client: Client, ref: object) -> None:
    assert (await client.ask({"type": "ping", "ref": ref}))["ref"] == ref


@pytest.mark.parametrize("ref", ["x" * 201, 1.5, True, [], {}, 2**70])
async def test_a_ref_that_is_none_is_refused(client: Client, ref: object) -> None:
    refusal = await client.ask({"type": "ping", "ref": ref})
    assert (refusal["code"], refusal["field"]) == (40003, "ref")
    assert "ref" not in refusal


async def test_a_ping_is_answered_with_the_time(client: Client) -> None:
    reply = await client.ask({"type": "ping"})
    assert (reply["type"], reply["ref"]) == ("reply", None)
    assert reply["result"].keys() == {"time"}


async def test_history_over_the_socket_is_that_over_http(server: Server, client: Client) -> None:
    await publish(server, "a", "1", "2", "3")
    reply = await client.ask({"type": "history", "channel": "a", "since": "-2", "limit": 1})
    over_http = await request(server.port, "GET", "/channels/a/history?since=-2&limit=1")
    assert reply["result"] == over_http.json
    assert [p["message"] for p in reply["result"]["publications"]] == ["2"]


# --- since ---


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, []),
        ("latest", []),
        ("all", ["1", "2", "3"]),
        ("-2", ["2", "3"]),
        (-1, ["3"]),
        ("-100", ["1", "2", "3"]),
        ("10m", ["1", "2", "3"]),
        ("3600", ["1", "2", "3"]),
        ("2001-01-01T00:00:00Z", ["1", "2", "3"]),
        ("2001-01-01T00:00:00+01:00", ["1", "2", "3"]),
        ("2099-01-01T00:00:00Z", []),
        ("{first}", ["2", "3"]),
        ("{third}", []),
        ("a={first},b={first};t=1.5", ["2", "3"]),
        ("b={first};t=1.5", ["1", "2", "3"]),
        (";t=4000000000", ["1", "2", "3"]),  # now, less the overlap
    ],
)
async def test_since_says_where_to_begin(
    server: Server, client: Client, since: object, expected: list[str]
) -> None:
    first, _, third = await publish(server, "a", "1", "2", "3")
    if isinstance(since, str):
        since = since.replace("{first}", first).replace("{third}", third)
    subscribed = await client.ask({"type": "subscribe", "channel": "a", "since": since})
    assert (subscribed["type"], subscribed["recovered"]) == ("subscribed", True)
    await publish(server, "a", "live")
    received = [(await client.message())["message"] for _ in range(len(expected) + 1)]
    assert received == [*expected, "live"]


async def test_who_comes_back_with_a_position_misses_nothing_and_gets_nothing_twice(
    server: Server,
) -> None:
    async with raw_socket(server.port, "/ws?channel=a") as socket:
        position = (await socket.message())["position"]
        await publish(server, "a", "1", "2")
        assert (await socket.message())["message"] == "1"
        position = (await socket.message())["position"]
    await publish(server, "a", "3", "4")
    async with raw_socket(server.port, f"/ws?channel=a&since={position}") as socket:
        subscribed = await socket.message()
        assert (subscribed["position"], subscribed["recovered"]) == (position, True)
        await publish(server, "a", "5")
        assert [(await socket.message())["message"] for _ in range(3)] == ["3", "4", "5"]


async def test_several_channels_come_back_with_a_resume_token(server: Server) -> None:
    (a,) = await publish(server, "a", "a1")
    (b,) = await publish(server, "b", "b1")
    await publish(server, "a", "a2")
    await publish(server, "b", "b2")
    token = f"a={a},b={b};t=1.000"
    async with raw_socket(server.port, f"/ws?channel=a&channel=b&since={token}") as socket:
        messages = [await socket.message() for _ in range(4)]
    assert {m["channel"]: m["recovered"] for m in messages if m["type"] == "subscribed"} == {
        "a": True,
        "b": True,
    }
    assert {m["message"] for m in messages if m["type"] == "notification"} == {"a2", "b2"}
    assert str(ResumeToken({}, 1000)) == ";t=1.000"


async def test_one_position_for_several_channels_is_refused(server: Server) -> None:
    (a,) = await publish(server, "a", "a1")
    answer = await request(
        server.port, "GET", f"/ws?channel=a&channel=b&since={a}", headers=HANDSHAKE
    )
    assert (answer.status, answer.code) == (400, 40005)


async def test_what_history_has_lost_is_told_as_a_gap() -> None:
    async with serving(history_size=2, feed_size=1) as server:
        positions = await publish(server, "a", *"12345")
        async with raw_socket(server.port, f"/ws?channel=a&since={positions[0]}") as socket:
            subscribed = await socket.message()
            assert subscribed["recovered"] is False
            assert subscribed["gap"] == {"after": positions[0], "before": positions[3]}
            assert subscribed["position"] == positions[2]
            assert [(await socket.message())["message"] for _ in range(2)] == ["4", "5"]


async def test_a_position_of_another_log_is_a_gap(server: Server, client: Client) -> None:
    positions = await publish(server, "a", "1", "2")
    answer = await client.ask({"type": "subscribe", "channel": "a", "since": "otherlog:7"})
    assert answer["recovered"] is False
    assert answer["gap"] == {"after": "otherlog:7", "before": positions[0]}


async def test_a_position_beyond_the_head_is_a_gap(server: Server, client: Client) -> None:
    (position,) = await publish(server, "a", "1")
    beyond = position.partition(":")[0] + ":99"
    answer = await client.ask({"type": "subscribe", "channel": "a", "since": beyond})
    assert (answer["recovered"], answer["gap"]["after"]) == (False, beyond)
    await publish(server, "a", "2")
    assert (await client.message())["message"] == "2"


async def test_an_ephemeral_channel_has_no_positions() -> None:
    async with serving(namespaces={"now": {"history_size": 0}}) as server:
        async with raw_socket(server.port, "/ws?channel=now:a&since=all") as socket:
            subscribed = await socket.message()
            assert (subscribed["position"], subscribed["recovered"]) == (None, None)
            answer = await request(server.port, "POST", "/notify/now:a", body=b"hi")
            assert answer.json["position"] is None
            notification = await socket.message()
            assert (notification["position"], notification["offset"]) == (None, None)


# --- the handshake ---


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("channel=a%20b", 400, 40004),
        ("channel=", 400, 40004),
        ("channel=%FF", 400, 40006),
        ("chanel=a", 400, 40002),
        ("channel=a&since=nonsense", 400, 40005),
        ("since=" + "x" * 5000, 431, 43101),
        ("channel=a&since=%FF", 400, 40006),
    ],
)
async def test_what_is_wrong_with_the_url_is_told_before_the_handshake(
    server: Server, query: str, status: int, code: int
) -> None:
    answer = await request(server.port, "GET", f"/ws?{query}", headers=HANDSHAKE)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    "changed",
    [
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": ""},
    ],
)
async def test_what_is_no_handshake_is_told_what_is_spoken_here(
    server: Server, changed: dict[str, str]
) -> None:
    for path in ("/ws", "/echo"):
        answer = await request(server.port, "GET", path, headers={**HANDSHAKE, **changed})
        assert (answer.status, answer.code) == (426, 42601)
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("key", ["", "short", "!!!!", "dGhlIHNhbXBsZSBub25jZQ", "YQ=="])
async def test_a_bad_key_is_refused(server: Server, key: str) -> None:
    answer = await request(
        server.port, "GET", "/ws", headers={**HANDSHAKE, "Sec-WebSocket-Key": key}
    )
    assert (answer.status, answer.code) == (400, 40006)


async def test_the_connection_header_may_hold_more(server: Server) -> None:
    headers = {**HANDSHAKE, "Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}
    answer = await request(server.port, "GET", "/ws", headers=headers)
    assert answer.status == 101
    # RFC 6455 §1.3's own example
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ("notifier.v1", "notifier.v1"),
        ("json", "json"),
        ("bearer.s3cret, notifier.v1", "notifier.v1"),
        ("unknown, json, notifier.v1", "json"),
        ("bearer.s3cret", None),
        ("unknown", None),
        ("", None),
    ],
)
async def test_subprotocols_are_chosen_and_credentials_never_echoed(
    server: Server, offered: str | None, chosen: str | None
) -> None:
    more = {} if offered is None else {"Sec-WebSocket-Protocol": offered}
    answer = await request(server.port, "GET", "/ws", headers={**HANDSHAKE, **more})
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen
    assert "s3cret" not in str(answer.headers)


@pytest.mark.parametrize(
    "offered",
    [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; nonsense=1",
        "permessage-deflate; server_max_window_bits=99",
        ';;=",',
    ],
)
async def test_extensions_are_passed_over(server: Server, offered: str) -> None:
    async with raw_socket(server.port, "/ws", {"Sec-WebSocket-Extensions": offered}) as socket:
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"


# --- clients that break the protocol ---


async def test_who_does_not_speak_json_is_told_and_then_closed(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        for text, code in ((b"hello", 40001), (b"[1]", 40008), (b"{'a': 1}", 40001)):
            await socket.send(client_frame(text))
            assert (await socket.message())["code"] == code
        assert (await socket.closed(answer=True))[0] == 4500


async def test_json_in_between_forgives(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        for _ in range(5):
            await socket.send(client_frame(b"oops") + client_frame(b"oops"))
            await socket.send(client_frame(b'{"type":"ping"}'))
            kinds = [(await socket.message())["type"] for _ in range(3)]
            assert kinds == ["error", "error", "reply"]


async def test_binary_messages_are_no_commands(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        for _ in range(3):
            await socket.send(client_frame(b'{"type":"ping"}', BINARY))
            assert (await socket.message())["code"] == 40008
        assert (await socket.closed(answer=True))[0] == 4500


@pytest.mark.parametrize("text", [b'{"type":"\\ud800"}', b"[" * 1000, b"", b"null", b'"x"'])
async def test_strange_json_is_an_error_of_its_own_connection(server: Server, text: bytes) -> None:
    async with raw_socket(server.port) as socket:
        await socket.send(client_frame(text))
        assert (await socket.message())["type"] == "error"
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"


async def test_who_sends_a_message_over_the_limit_gets_to_see_1009(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        size = 50 * 2**20
        await socket.send(client_frame(b"", size=size))
        sending = asyncio.create_task(socket.flood(b"x" * 2**20, 49))
        assert (await socket.closed())[0] == 1009
        await sending


async def test_fragments_over_the_limit_are_1009(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        piece = b"x" * 600_000
        await socket.send(client_frame(piece, fin=False))
        await socket.send(client_frame(piece, 0, fin=False))
        sending = asyncio.create_task(socket.flood(client_frame(piece, 0, fin=False), 20))
        assert (await socket.closed())[0] == 1009
        await sending


async def test_a_message_of_exactly_the_limit_is_taken() -> None:
    async with serving(max_message_bytes=1000) as server, raw_socket(server.port) as socket:
        text = json.dumps({"type": "ping", "ref": "r"}).encode()
        await socket.send(client_frame(text + b" " * (1000 - len(text))))
        assert (await socket.message())["type"] == "reply"
        await socket.send(client_frame(text + b" " * (1001 - len(text))))
        assert (await socket.closed())[0] == 1009


async def test_control_frames_between_fragments_do_not_count_towards_the_limit() -> None:
    async with serving(max_message_bytes=1000) as server, raw_socket(server.port) as socket:
        text = json.dumps({"type": "ping"}).encode().ljust(1000)
        await socket.send(client_frame(text[:990], fin=False))
        await socket.send(client_frame(b"p" * 100, PING))
        assert await socket.frame() == (PONG, b"p" * 100)
        await socket.send(client_frame(text[990:], 0))
        assert (await socket.message())["type"] == "reply"


async def test_a_message_in_fragments_is_one_message(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        text = json.dumps({"type": "ping", "ref": "é☃"}, ensure_ascii=False).encode()
        pieces = [text[i : i + 1] for i in range(len(text))]
        await socket.send(client_frame(pieces[0], fin=False))
        for piece in pieces[1:-1]:
            await socket.send(client_frame(piece, 0, fin=False))
        await socket.send(client_frame(pieces[-1], 0))
        assert (await socket.message())["ref"] == "é☃"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([client_frame(b'{"a":"\xff"}')], 1007),
        ([client_frame(b"\xc3", fin=False), client_frame(b"\x28", 0)], 1007),
        ([client_frame(b"\xed\xa0\x80")], 1007),  # a surrogate
        ([client_frame(b"\xf4\x90\x80\x80")], 1007),  # beyond Unicode
        ([client_frame(b"x", reserved=1)], 1002),
        ([client_frame(b"x", reserved=2)], 1002),
        ([client_frame(b"x", reserved=4)], 1002),
        ([client_frame(b"x", 0x3)], 1002),
        ([client_frame(b"x", 0x7)], 1002),
        ([client_frame(b"x", 0xB)], 1002),
        ([client_frame(b"x", 0xF)], 1002),
        ([client_frame(b"x", 0)], 1002),  # a continuation of nothing
        ([client_frame(b"x", fin=False), client_frame(b"y")], 1002),
        ([client_frame(b"x", PING, fin=False)], 1002),
        ([client_frame(b"x" * 126, PING)], 1002),
        ([client_frame(b"x" * 70000, PONG)], 1002),
        ([client_frame(b"x" * 126, CLOSE)], 1002),
        ([client_frame(b"{}", masked=False)], 1002),
        ([client_frame(b"{", masked=False, fin=False), client_frame(b"}", 0)], 1002),
        ([client_frame(b"{", fin=False), client_frame(b"}", 0, masked=False)], 1002),
        ([client_frame(b"", PING, masked=False)], 1002),
        ([client_frame(b"x" * 1000, masked=False)], 1002),
        ([client_frame(b"\x03", CLOSE)], 1002),  # half a code
        ([client_frame(b"\x03\xe8\xff", CLOSE)], 1007),
        ([client_frame(b"", size=2**63)], 1009),
    ],
)
async def test_a_broken_frame_is_answered_with_its_code(
    server: Server, frames: list[bytes], code: int
) -> None:
    async with raw_socket(server.port) as socket, raw_socket(server.port) as other:
        await socket.send(b"".join(frames) + client_frame(b'{"type":"ping"}'))
        assert (await socket.closed())[0] == code
        assert (await other.ask({"type": "ping"}))["type"] == "reply"
    await until(lambda: not server.node.connections)


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000])
async def test_a_close_code_that_must_not_be_sent_is_answered_with_1002(
    server: Server, code: int
) -> None:
    async with raw_socket(server.port) as socket:
        await socket.send(client_frame(code.to_bytes(2), CLOSE))
        assert (await socket.closed())[0] == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
async def test_a_good_close_is_answered_with_its_own_code(server: Server, code: int) -> None:
    async with raw_socket(server.port) as socket:
        await socket.send(client_frame(code.to_bytes(2) + "été".encode(), CLOSE))
        assert (await socket.closed())[0] == code


async def test_a_close_without_a_code_is_answered_without_one(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        await socket.send(client_frame(b"", CLOSE))
        assert await socket.frame() == (CLOSE, b"")
        assert await socket.ended() == b""


async def test_nothing_is_done_after_a_close(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        command = json.dumps({"type": "publish", "channel": "a", "message": "late"}).encode()
        await socket.send(client_frame(b"\x03\xe8", CLOSE) + client_frame(command))
        assert (await socket.closed())[0] == 1000
    assert await stored_in(server.port, "a") == []


async def test_pings_are_answered_with_their_payload(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        for payload in (b"", b"x", b"x" * 125, bytes(range(100))):
            await socket.send(client_frame(payload, PING))
            assert await socket.frame() == (PONG, payload)
        await socket.send(client_frame(b"unasked", PONG))
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"


# --- clients that vanish ---


async def test_who_is_cut_in_the_middle_of_anything_disturbs_nobody(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_socket(server.port, "/ws?channel=a") as witness:
        assert (await witness.message())["type"] == "subscribed"
        await asyncio.gather(*(_vanish(server, stage) for stage in range(100)))
        await until(lambda: len(server.node.connections) == 1)
        await publish(server, "a", "still here")
        assert (await witness.message())["message"] == "still here"
    await until(lambda: not server.node.connections)
    assert "Traceback" not in caplog.text
    assert server.node.connections.deserted.is_set()


async def _vanish(server: Server, stage: int) -> None:
    """Open a connection, and cut it at one of ten places."""
    handshake = b"GET /ws?channel=a HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        f"{name}: {value}\r\n".encode() for name, value in HANDSHAKE.items()
    )
    frame = client_frame(json.dumps({"type": "ping"}).encode().ljust(300))
    sent = [
        b"",
        handshake[:7],
        handshake,
        handshake + b"\r\n",
        handshake + b"\r\n" + frame[:1],
        handshake + b"\r\n" + frame[:3],
        handshake + b"\r\n" + frame[:6],
        handshake + b"\r\n" + frame[:-1],
        handshake + b"\r\n" + frame,
        handshake + b"\r\n" + client_frame(b"{", fin=False),
    ][stage % 10]
    async with wire_to(server.port) as wire:
        await wire.send(sent)
        if stage % 3 == 0 and stage % 10 > 2:
            await wire.answer()
        if stage % 2:
            wire.reset()


async def test_a_failing_node_closes_the_connection_with_1011(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError("the secret is 1234")

    async with raw_socket(server.port) as socket:
        monkeypatch.setattr(server.node, "history", broken)
        await socket.say({"type": "history", "channel": "a"})
        assert (await socket.closed()) == (1011, "")
    await until(lambda: not server.node.connections)
    monkeypatch.setattr(server.node, "subscribe", broken)
    async with raw_socket(server.port, "/ws?channel=a") as socket:  # fails while it opens
        assert (await socket.closed())[0] == 1011
    await until(lambda: not server.node.connections)
    assert caplog.text.count("request.failed") == 2


async def test_a_client_that_does_not_answer_our_close_is_let_go(server: Server) -> None:
    async with raw_socket(server.port) as socket:
        for _ in range(3):
            await socket.send(client_frame(b"no json"))
            await socket.message()
        assert await socket.frame() == (
            CLOSE,
            (4500).to_bytes(2) + b"this is not the notifier.v1 protocol",
        )
        await socket.send(client_frame((4500).to_bytes(2), CLOSE))
        assert await socket.ended() == b""
    await until(lambda: not server.node.connections)


@pytest.fixture
def swift_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alive looks around more often than once a second."""
    monkeypatch.setattr("notifier.server.SWEEP_SECONDS", 0.01)


@pytest.mark.usefixtures("swift_sweeps")
async def test_a_silent_connection_is_pinged_and_then_given_up() -> None:
    async with serving(ping_interval=0.05, ping_timeout=0.05) as server:
        async with raw_socket(server.port) as socket:
            assert await socket.frame() == (PING, b"")
            assert await socket.ended() == b""
        await until(lambda: not server.node.connections)


@pytest.mark.usefixtures("swift_sweeps")
async def test_a_connection_that_answers_pings_stays() -> None:
    async with serving(ping_interval=0.05, ping_timeout=1.0) as server:
        async with raw_socket(server.port) as socket:
            loop = asyncio.get_running_loop()
            end = loop.time() + 2  # without an answer it would have been given up
            while loop.time() < end:
                assert await socket.frame() == (PING, b"")
                await socket.send(client_frame(b"", PONG))
            assert (await socket.ask({"type": "ping"}))["type"] == "reply"


@pytest.mark.usefixtures("swift_sweeps")
async def test_who_takes_long_to_send_one_message_is_not_silent() -> None:
    async with serving(ping_interval=0.8, ping_timeout=0.8) as server:
        async with raw_socket(server.port) as socket:
            frame = client_frame(b'{"type":"ping"}'.ljust(500_000))
            for start in range(0, len(frame), 20_000):
                await socket.send(frame[start : start + 20_000])
                await asyncio.sleep(0.1)
            assert (await socket.message())["type"] == "reply"
