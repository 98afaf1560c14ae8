"""How many connections, and how much in how little time, as clients see it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from handlers.publishing import publications_of
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from tests.frames import PING, PONG, TEXT, client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    Answer,
    head,
    raw_socket,
    request,
    serving,
    stored_in,
    until,
    wire_to,
)
from tests.handlers.test_credentials import SECRET, token

pytestmark = pytest.mark.alone

LISTENING = {
    "/ws?channel=a": HANDSHAKE,
    "/raw/a": HANDSHAKE,
    "/echo": HANDSHAKE,
    "/events?channel=a": {},
    "/stream?channel=a": {},
}


async def forwarded(port: int, path: str, client: str, **headers: str) -> Answer:
    """Ask as a client behind our proxy."""
    return await request(
        port, "GET", path, headers={**HANDSHAKE, "X-Forwarded-For": client, **headers}
    )


# --- connections ---


@pytest.mark.parametrize("path", LISTENING)
async def test_an_address_has_so_many_connections_of_every_kind(path: str) -> None:
    async with serving(max_connections_per_address=2) as server:
        async with raw_socket(server.port), raw_socket(server.port, "/raw/a"):
            answer = await request(server.port, "GET", path, headers=LISTENING[path])
            assert (answer.status, answer.code) == (429, 42902)
            assert answer.headers["retry-after"] == "10"
            error = answer.json["error"]
            assert (error["limit"], error["retry_after_ms"]) == (2, 10_000)
            assert "trusted_proxies" in error["message"] and error["temporary"] is True
            assert (await request(server.port, "GET", "/channels")).status == 200
        await until(lambda: not server.node.connections)
        async with raw_socket(server.port), raw_socket(server.port, "/raw/a"):
            assert server.node.counts.errors[42902] == 1


async def test_an_event_source_is_told_so_as_an_event_and_when_to_come_back() -> None:
    async with serving(max_connections_per_address=1) as server, raw_socket(server.port):
        headers = {"Accept": "text/event-stream"}
        answer = await request(server.port, "GET", "/events?channel=a", headers=headers)
        assert answer.status == 200
        retry, _, event = answer.body.partition(b"\n")
        assert 10_000 < int(retry.removeprefix(b"retry: ")) <= 13_000
        assert b"event: refused" in event and b"42902" in event


async def test_an_address_is_the_one_that_trusted_proxies_tell() -> None:
    async with (
        serving(
            max_connections_per_address=1, trusted_proxies=("127.0.0.1",), insecure=True
        ) as server,
        raw_socket(server.port, headers={"X-Forwarded-For": "192.0.2.1"}),
        raw_socket(server.port, headers={"X-Forwarded-For": "2001:db8::1"}),
    ):
        for client in ("192.0.2.1", "2001:db8::2"):
            assert (await forwarded(server.port, "/ws", client)).code == 42902
        assert (await forwarded(server.port, "/ws", "192.0.2.2")).status == 101


@pytest.mark.parametrize("number", range(3))
async def test_streams_that_come_at_once_are_never_too_many(number: int) -> None:
    """Between the check and the connection the answer's head goes out."""
    del number
    async with serving(max_connections_per_address=3) as server, AsyncExitStack() as stack:
        asked = [asyncio.create_task(_status_of_stream(server.port, stack)) for _ in range(20)]
        statuses = await asyncio.gather(*asked)
        assert sorted(statuses) == [200] * 3 + [429] * 17
        assert len(server.node.connections) == 3


async def _status_of_stream(port: int, stack: AsyncExitStack) -> int:
    wire = await stack.enter_async_context(wire_to(port))
    await wire.send(head("GET", "/stream?channel=a"))
    return (await wire.answer_head()).status


async def test_a_user_has_so_many_connections_and_may_not_become_another() -> None:
    async with serving(token_secret=SECRET, max_connections_per_user=1) as server:
        alice = {"Sec-WebSocket-Protocol": f"notifier.v1, bearer.{token('alice')}"}
        bob = {"Sec-WebSocket-Protocol": f"notifier.v1, bearer.{token('bob')}"}
        async with raw_socket(server.port, "/ws", alice) as one:
            answer = await request(server.port, "GET", "/ws", headers={**HANDSHAKE, **alice})
            assert (answer.status, answer.code) == (429, 42903)
            assert token("alice") not in answer.body.decode()
            async with raw_socket(server.port, "/ws", bob) as two:
                refusal = await two.ask({"type": "authenticate", "token": token("alice")})
                assert (refusal["type"], refusal["code"]) == ("error", 42903)
                told = await two.ask({"type": "authenticate", "token": token("bob")})
                assert told["result"]["name"] == "bob"
            # One that refreshes its own token is no second one.
            assert (await one.ask({"type": "authenticate", "token": token("alice")}))["result"]
        await until(lambda: not server.node.connections)
        async with raw_socket(server.port, "/ws", alice):
            pass


async def test_an_address_connects_ten_times_at_once_and_then_so_fast() -> None:
    async with serving(max_new_connections_per_second=1) as server:
        for _ in range(10):
            async with raw_socket(server.port):
                pass
        for path, headers in LISTENING.items():
            answer = await request(server.port, "GET", path, headers=headers)
            assert (answer.status, answer.code) == (429, 42904)
            assert answer.headers["retry-after"] == "1"
            assert 0 < answer.json["error"]["retry_after_ms"] <= 1000


async def test_the_wait_is_rounded_up_to_whole_seconds() -> None:
    async with serving(max_publishes_per_second=1) as server:
        body = json.dumps([{"channel": "a", "message": "x"}] * 4).encode()
        assert (await request(server.port, "POST", "/notify", body=body)).status == 200
        answer = await request(server.port, "POST", "/notify/a", body=b"x")
        wait_ms = answer.json["error"]["retry_after_ms"]
        assert 2000 < wait_ms <= 3000
        assert answer.headers["retry-after"] == "3"


# --- commands ---


async def test_who_sends_too_fast_is_told_and_then_not_read_for_a_moment() -> None:
    async with serving(max_commands_per_second=10) as server, raw_socket(server.port) as flooder:
        ping = json.dumps({"type": "ping", "ref": 7}).encode()
        await flooder.send(client_frame(ping) * 22)
        kinds = [(await flooder.message())["type"] for _ in range(20)]
        assert kinds == ["reply"] * 20
        refusal = await flooder.message()
        told = time.monotonic()
        assert (refusal["type"], refusal["code"], refusal["ref"]) == ("error", 42905, 7)
        assert refusal["limit"] == 10 and 0 < refusal["retry_after_ms"] <= 100
        assert (await flooder.message())["type"] == "reply"
        assert time.monotonic() - told > 0.05
        assert server.node.counts.errors[42905] == 1


async def test_a_flood_of_commands_is_told_of_ten_times_a_second_at_most() -> None:
    async with serving(max_commands_per_second=10) as server, raw_socket(server.port) as flooder:
        nonsense = client_frame(json.dumps({"type": "x" * 5000}).encode())
        flooding = asyncio.create_task(flooder.flood(nonsense * 10, 1000))
        began = time.monotonic()
        await until(lambda: server.node.counts.errors[42905] >= 5)
        elapsed = time.monotonic() - began
        assert elapsed > 0.35, "five errors, and four pauses between them"
        flooder.reset()
        await flooding
        await until(lambda: not server.node.connections)


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_pings_is_read_no_faster(opcode: int) -> None:
    async with serving(max_commands_per_second=10) as server, raw_socket(server.port) as flooder:
        began = time.monotonic()
        await flooder.send(client_frame(b"", opcode) * 24)
        await flooder.send(client_frame(b'{"type":"ping"}') * 2)
        while (frame := await flooder.frame()).opcode == PONG:
            pass
        # Twenty at once; four pauses, one of them for the command.
        assert time.monotonic() - began > 0.2
        assert json.loads(frame.payload)["type"] in ("reply", "error")


async def test_a_message_in_tiny_pieces_is_read_no_faster_and_one_in_large_ones_is() -> None:
    async with serving(max_commands_per_second=10) as server, raw_socket(server.port) as socket:
        command = json.dumps({"type": "nonsense", "channel": "x" * 60_000}).encode()
        for size, slow in ((2000, False), (30, True)):
            pieces = [command[at : at + size] for at in range(0, 24 * size, size)]
            rest = command[24 * size :]
            frames = [
                client_frame(piece, TEXT if number == 0 else 0, fin=False)
                for number, piece in enumerate(pieces)
            ]
            began = time.monotonic()
            await socket.send(b"".join(frames) + client_frame(rest, 0))
            assert (await socket.message())["code"] == 40009
            assert (time.monotonic() - began > 0.25) is slow


async def test_raw_is_closed_and_what_came_after_is_not_published() -> None:
    async with (
        serving(max_commands_per_second=10) as server,
        raw_socket(server.port, "/raw/a?echo=0") as flooder,
    ):
        frames = [client_frame(str(number).encode()) for number in range(25)]
        await flooder.send(b"".join(frames))
        code, reason = await flooder.closed(answer=True)
        assert code == 4429 and "max_commands_per_second" in reason
        stored = [one["message"] for one in await stored_in(server.port, "a")]
        assert stored == [str(number) for number in range(20)]
        assert server.node.counts.intakes["raw"].refused[42905] == 1


async def test_an_echo_comes_no_faster() -> None:
    async with (
        serving(max_commands_per_second=20) as server,
        raw_socket(server.port, "/echo") as flooder,
    ):
        began = time.monotonic()
        await flooder.send(client_frame(b"x") * 44)
        for _ in range(44):
            await flooder.frame()
        assert time.monotonic() - began > 0.15


# --- publications ---


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """A file of keys of two producers, and these keys."""
    file, texts = KeyFile(tmp_path / "keys.toml"), {}
    for name in ("ci", "cron"):
        reach = Reach.of(["*"])
        key, texts[name] = make_key(
            name, scopes={Scope.PUBLISH, Scope.HISTORY}, channels=reach, created=time.time()
        )
        file.add(key)
    return str(file.path), texts


async def post(
    port: int, body: Any, path: str = "/notify/a", key: str = "", kind: str = "application/json"
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": kind} | ({"X-API-Key": key} if key else {})
    return await request(port, "POST", path, body=data, headers=headers)


async def test_a_producer_publishes_so_fast_and_others_as_fast(
    keys: tuple[str, dict[str, str]],
) -> None:
    path, texts = keys
    async with serving(keys_file=path, max_publishes_per_second=1) as server:
        for _ in range(2):
            assert (await post(server.port, {"message": "x"}, key=texts["ci"])).status == 200
        answer = await post(server.port, {"message": "x"}, key=texts["ci"])
        assert (answer.status, answer.code) == (429, 42906)
        assert (answer.headers["retry-after"], answer.json["error"]["limit"]) == ("1", 1)
        assert server.node.counts.intakes["http"].refused[42906] == 1
        assert (await post(server.port, {"message": "x"}, key=texts["cron"])).status == 200


async def test_an_array_counts_for_what_it_holds_and_is_refused_as_a_whole() -> None:
    async with serving(max_publishes_per_second=2) as server:
        items = [{"message": str(number)} for number in range(3)]
        assert (await post(server.port, items)).status == 200
        answer = await post(server.port, items)
        assert (answer.status, answer.code) == (429, 42906)
        assert (await post(server.port, items[:1])).status == 200
        assert [one["message"] for one in await stored_in(server.port, "a")] == ["0", "1", "2", "0"]
        assert server.node.counts.intakes["http"].refused[42906] == 3


TO_THREE = {"channels": ["a", "b", "a", "c"], "message": "x"}


@pytest.mark.parametrize("body", [TO_THREE, [TO_THREE]])
async def test_what_is_for_several_channels_counts_for_each(body: object) -> None:
    async with serving(max_publishes_per_second=2) as server:
        assert (await request(server.port, "POST", "/notify", body=to_json(body))).status == 200
        assert (await post(server.port, {"message": "one is left"})).status == 200
        answer = await request(server.port, "POST", "/notify", body=to_json(body))
        assert (answer.status, answer.code) == (429, 42906)
        assert server.node.counts.intakes["http"].refused[42906] == 3


async def test_so_it_does_over_a_websocket_and_in_lines() -> None:
    async with serving(max_publishes_per_second=2) as server:
        async with raw_socket(server.port) as socket:
            assert (await socket.ask({"type": "publish", **TO_THREE}))["type"] == "reply"
            assert (await socket.ask({"type": "publish", **TO_THREE}))["code"] == 42906
    async with serving(max_publishes_per_second=50) as server:
        began = time.monotonic()
        lines = {"Content-Type": "application/x-ndjson"}
        body = (to_json(TO_THREE) + b"\n") * 42
        answer = await request(server.port, "POST", "/notify", body=body, headers=lines)
        assert time.monotonic() - began > 0.45, "a hundred at once, and half a second's worth"
        assert (answer.status, answer.json["stored"]) == (200, 42)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"channel": "a"}, 1),
        ({"channels": []}, 1),
        ({"channels": "a,b"}, 1),
        ({"channels": [1, ["a"], None, "a", "b"]}, 2),
        ({"channels": [str(number) for number in range(1000)]}, 50),
        ([], 1),
    ],
)
def test_so_many_it_counts_whatever_is_sent(fields: object, count: int) -> None:
    assert publications_of(fields, 50) == count


async def test_lines_are_slowed_down_and_all_of_them_stored() -> None:
    async with serving(max_publishes_per_second=50) as server:
        body = b"".join(b'{"message": "%d"}\n' % number for number in range(125))
        began = time.monotonic()
        answer = await post(server.port, body, kind="application/x-ndjson")
        assert time.monotonic() - began > 0.45, "a hundred at once, and half a second's worth"
        assert (answer.status, answer.json["stored"]) == (200, 125)
        # In the middle of that, others of the same producer have to wait.
        assert (await post(server.port, {"message": "x"})).code == 42906


async def test_over_a_websocket_it_is_an_error_and_over_raw_the_end() -> None:
    async with serving(max_publishes_per_second=1) as server:
        async with raw_socket(server.port) as socket:
            command = {"type": "publish", "channel": "a", "message": "x", "ref": 1}
            for _ in range(2):
                assert (await socket.ask(command))["type"] == "reply"
            refusal = await socket.ask(command)
            assert (refusal["code"], refusal["ref"], refusal["limit"]) == (42906, 1, 1)
            assert 0 < refusal["retry_after_ms"] <= 1000
            assert (await socket.ask({"type": "ping"}))["type"] == "reply"
        async with raw_socket(server.port, "/raw/a?echo=0") as raw:
            await raw.send(client_frame(b"y"))
            assert (await raw.closed(answer=True))[0] == 4429
        assert server.node.counts.intakes["raw"].refused[42906] == 1
        assert [one["message"] for one in await stored_in(server.port, "a")] == ["x", "x"]


async def test_lines_that_wait_for_their_turn_give_way_to_a_node_that_leaves() -> None:
    async with serving(max_publishes_per_second=1, drain_seconds=0.4) as server:
        body = b"".join(b'{"message": "%d"}\n' % number for number in range(20))
        asked = asyncio.create_task(post(server.port, body, kind="application/x-ndjson"))
        await until(lambda: server.node.counts.intakes["ndjson"].stored == 2)
        await server.drain()
        answer = await asked
        assert (answer.status, answer.code) == (503, 50302)
        stored = answer.json["stored"]
        assert stored < 20 and answer.json["stopped_at_line"] == stored + 1


# --- tickets ---


def bearer(sub: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(sub, ('*',))}"}


async def test_a_user_has_so_many_tickets_that_nobody_has_shown() -> None:
    async with serving(token_secret=SECRET, max_tickets_per_user=2) as server:

        async def ticket(sub: str) -> Answer:
            return await request(server.port, "POST", "/ticket", headers=bearer(sub))

        first, second = await ticket("alice"), await ticket("alice")
        assert (first.status, second.status) == (200, 200)
        answer = await ticket("alice")
        assert (answer.status, answer.code) == (429, 42907)
        error = answer.json["error"]
        assert error["limit"] == 2 and 29_000 < error["retry_after_ms"] <= 30_000
        assert answer.headers["retry-after"] == "30"
        assert server.node.counts.errors[42907] == 1
        assert (await ticket("bob")).status == 200, "it is alice's limit"
        path = f"/stream?channel=a&poll=1&ticket={first.json['ticket']}"
        assert (await request(server.port, "GET", path)).status == 200
        assert (await ticket("alice")).status == 200, "one was used"


async def test_where_nobody_is_known_tickets_are_counted_by_address() -> None:
    proxied = {"max_tickets_per_user": 1, "trusted_proxies": ("127.0.0.1",), "insecure": True}
    async with serving(**proxied) as server:
        for client in ("192.0.2.1", "192.0.2.2"):
            headers = {"X-Forwarded-For": client}
            for status in (200, 429):
                answer = await request(server.port, "POST", "/ticket", headers=headers)
                assert answer.status == status


async def test_all_tickets_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(token_secret=SECRET) as server:
        monkeypatch.setattr(server.node.authenticator.tickets._unspent, "_most", 3)
        for sub in "abc":
            answer = await request(server.port, "POST", "/ticket", headers=bearer(sub))
            assert answer.status == 200
        answer = await request(server.port, "POST", "/ticket", headers=bearer("d"))
        assert (answer.status, answer.code) == (503, 50307)
        assert answer.headers["retry-after"] == "30"
        assert server.node.counts.errors[50307] == 1
