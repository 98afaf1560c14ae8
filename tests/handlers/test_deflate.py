"""permessage-deflate: the handshake, what goes out, and what comes in."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import notifier.wire.deflate
from notifier.server import Server
from tests.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    RSV1,
    TEXT,
    client_frame,
    deflated,
    deflated_frame,
)
from tests.handlers.serving import HANDSHAKE, RawSocket, head, raw_socket, serving, until, wire_to

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
PLENTY = "all of it " * 100


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(deflate=True) as server:
        yield server


def deflating(port: int, path: str = "/ws") -> AbstractAsyncContextManager[RawSocket]:
    return raw_socket(port, path, OFFER)


async def publish(server: Server, message: str, channel: str = "a") -> None:
    async with raw_socket(server.port) as socket:
        reply = await socket.ask({"type": "publish", "channel": channel, "message": message})
        assert reply["type"] == "reply", reply


async def followed(server: Server, count: int, channel: str = "a") -> None:
    """Wait until so many follow it live."""
    await until(lambda: server.node._hub.subscribers(channel) == count)
    feed = server.node._hub.feeds[channel]
    await until(lambda: all(one.standing.name == "LIVE" for one in feed.subscriptions))


# --- the handshake ---


async def extensions(port: int, offer: str | None, path: str = "/ws") -> str | None:
    headers = {} if offer is None else {"Sec-WebSocket-Extensions": offer}
    async with wire_to(port) as wire:
        await wire.send(head("GET", path, {**HANDSHAKE, **headers}))
        answer = await wire.answer()
        assert answer.status == 101, answer
        return answer.headers.get("sec-websocket-extensions")


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (None, None),
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; server_max_window_bits=15", ANSWER + "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=9", None),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", ANSWER),
        # Stock Tornado has no answer to these.
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=99", None),
        ("permessage-deflate; nonsense=1", None),
        ('permessage-deflate; client_max_window_bits="', None),
        ("\xff; =", None),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/raw/a", "/raw/a?echo=0"])
async def test_handshake(server: Server, offer: str | None, answer: str | None, path: str) -> None:
    assert await extensions(server.port, offer, path) == answer


async def test_offers_in_several_headers_are_one_list(server: Server) -> None:
    async with wire_to(server.port) as wire:
        request = head("GET", "/ws", {**HANDSHAKE, "Sec-WebSocket-Extensions": "mux"})
        more = b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        await wire.send(request.removesuffix(b"\r\n\r\n") + more)
        assert (await wire.answer()).headers["sec-websocket-extensions"] == ANSWER


async def test_nothing_is_negotiated_unless_the_setting_says_so() -> None:
    async with serving() as server:
        for path in ("/ws", "/raw/a", "/echo", "/"):
            assert await extensions(server.port, "permessage-deflate", path) is None
        async with deflating(server.port) as socket:
            await socket.send(deflated_frame(b'{"type":"ping"}'))
            assert (await socket.closed())[0] == 1002


@pytest.mark.parametrize("path", ["/echo", "/"])
async def test_the_echo_has_nothing_to_share_and_negotiates_nothing(
    server: Server, path: str
) -> None:
    assert await extensions(server.port, "permessage-deflate", path) is None


# --- what goes out ---


async def test_it_is_deflated_once_for_a_thousand_subscribers(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bytes] = []
    deflate = notifier.wire.deflate.deflate

    def counted(payload: bytes) -> bytes:
        calls.append(payload)
        return deflate(payload)

    monkeypatch.setattr(notifier.wire.deflate, "deflate", counted)
    many = [deflating(server.port, "/ws?channel=a") for _ in range(990)]
    sockets = [await one.__aenter__() for one in many]
    plain = raw_socket(server.port, "/ws?channel=a")
    try:
        sockets.append(await plain.__aenter__())
        await followed(server, 991)
        await publish(server, PLENTY)
        for socket in sockets:
            assert (await socket.message())["type"] == "subscribed"
            assert (await socket.message())["message"] == PLENTY
            assert socket.parser.compressed == socket.parser.inflates
    finally:
        for one in (*many, plain):
            await one.__aexit__(*sys.exc_info())
    assert len(calls) == 1
    assert len(server.node._hub.feeds) <= 1


async def test_what_is_short_and_the_servers_own_messages_are_not_deflated(server: Server) -> None:
    async with deflating(server.port, "/ws?channel=a") as socket:
        assert (await socket.message())["type"] == "subscribed"
        await followed(server, 1)
        await publish(server, "short")
        assert (await socket.message())["message"] == "short"
        assert not socket.parser.compressed
        await publish(server, PLENTY)
        assert (await socket.message())["message"] == PLENTY
        assert socket.parser.compressed == 1
        await socket.say({"type": "history", "channel": "a"})
        assert len((await socket.message())["result"]["publications"]) == 2
        assert socket.parser.compressed == 1


async def test_raw_has_its_own_bytes_for_text_and_bytes(server: Server) -> None:
    async with (
        deflating(server.port, "/raw/a") as one,
        deflating(server.port, "/raw/a?echo=0") as other,
        raw_socket(server.port, "/raw/a") as plain,
        deflating(server.port, "/ws?channel=a") as native,
    ):
        await followed(server, 4)
        await one.send(deflated_frame(PLENTY.encode()) + deflated_frame(bytes(3000), BINARY))
        for socket in (one, other, plain):
            assert await socket.frame() == (TEXT, PLENTY.encode())
            assert await socket.frame() == (BINARY, bytes(3000))
            assert socket.parser.compressed == (0 if socket is plain else 2)
        assert (await native.message())["type"] == "subscribed"
        assert (await native.message())["message"] == PLENTY
        await other.send(client_frame(b"mine"))
        assert await one.frame() == (TEXT, b"mine")


async def test_metrics_count_the_bytes_on_the_wire(server: Server) -> None:
    traffic = server.node.counts.traffic["websocket"]
    async with deflating(server.port, "/ws?channel=a") as socket:
        await socket.message()
        await followed(server, 1)
        wire = 0
        take = socket.reader.read

        async def weighed(size: int) -> bytes:
            nonlocal wire
            data = await take(size)
            wire += len(data)
            return data

        socket.reader.read = weighed  # type: ignore[method-assign]
        await publish(server, PLENTY)
        assert (await socket.message())["message"] == PLENTY
    assert (traffic.publications, traffic.bytes) == (1, wire)
    assert 0 < wire < 500


# --- what comes in ---


async def test_messages_come_compressed_or_not_whole_or_in_fragments(server: Server) -> None:
    async with deflating(server.port) as socket:
        for number in range(3):
            ping = json.dumps({"type": "ping", "ref": f"é{number}" * 20}).encode()
            data = deflated(ping)
            pieces = [data[i : i + 1] for i in range(1, len(data) - 1)]
            for frames in (
                deflated_frame(ping),
                client_frame(ping),
                client_frame(data[:1], fin=False, reserved=RSV1)
                + b"".join(client_frame(piece, 0, fin=False) for piece in pieces)
                + client_frame(data[-1:], 0),
            ):
                await socket.send(frames)
                assert (await socket.message())["ref"] == f"é{number}" * 20


async def test_control_frames_between_compressed_fragments_are_neither_inflated_nor_counted() -> (
    None
):
    """A ping does not change what the message it interrupts is."""
    async with (
        serving(deflate=True, max_message_bytes=1000) as server,
        deflating(server.port) as socket,
    ):
        noise = "".join(random.Random(1).choices("0123456789abcdef" * 4 + "ghijklmnop", k=900))
        ping = json.dumps({"type": "ping", "pad": noise}).encode().ljust(1000)
        data = deflated(ping)
        for payload in (b"p" * 125, b"", deflated(b"x")):
            await socket.send(client_frame(data[:-9], fin=False, reserved=RSV1))
            await socket.send(client_frame(payload, PING))
            assert await socket.frame() == (PONG, payload)
            await socket.send(client_frame(data[-9:], 0))
            assert (await socket.message())["type"] == "error"  # an unknown member
        plain = json.dumps({"type": "ping"}).encode().ljust(1000)
        await socket.send(client_frame(plain[:990], fin=False))
        await socket.send(client_frame(b"p" * 125, PING) + client_frame(plain[990:], 0))
        assert await socket.frame() == (PONG, b"p" * 125)
        assert (await socket.message())["type"] == "reply"


async def test_the_limit_is_of_what_is_inflated() -> None:
    async with serving(deflate=True, max_message_bytes=10_000) as server:
        noise = random.Random(1).randbytes(10_000)
        assert len(deflated(noise)) > 10_000
        async with (
            deflating(server.port, "/raw/a") as socket,
            deflating(server.port, "/raw/a") as other,
        ):
            await followed(server, 2)
            for payload in (noise, bytes(10_000)):
                await socket.send(deflated_frame(payload, BINARY))
                assert await other.frame() == (BINARY, payload)
            await socket.send(deflated_frame(bytes(10_001), BINARY))
            assert [await socket.frame() for _ in range(2)][1] == (BINARY, bytes(10_000))
            assert (await socket.closed())[0] == 1009
            # One more that is not compressed.
            await other.send(client_frame(bytes(10_001), BINARY))
            assert (await other.closed())[0] == 1009


@pytest.mark.parametrize("in_fragments", [False, True])
async def test_a_bomb_is_told_1009_costs_the_limit_and_disturbs_nobody(
    server: Server, in_fragments: bool
) -> None:
    bomb = deflated(bytes(200_000_000))
    assert 100_000 < len(bomb) < 2**20
    if in_fragments:
        half = len(bomb) // 2
        frames = client_frame(bomb[:half], fin=False, reserved=RSV1) + client_frame(bomb[half:], 0)
    else:
        frames = client_frame(bomb, reserved=RSV1)
    async with deflating(server.port) as socket, deflating(server.port) as other:
        # What comes after it must not turn the end into a reset.
        sending = asyncio.create_task(socket.flood(frames, 20))
        assert (await socket.closed())[0] == 1009
        await sending
        assert (await other.ask({"type": "ping"}))["type"] == "reply"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([client_frame(b"\xff\xff\xff", reserved=RSV1)], 1007),
        ([client_frame(b"", reserved=RSV1)], 1007),
        ([client_frame(deflated(b'{"type":"ping"}')[:-4], reserved=RSV1)], 1007),
        ([client_frame(deflated(b'{"type":"ping"}') + b"more", reserved=RSV1)], 1007),
        ([deflated_frame(b'{"a":"\xff"}')], 1007),  # is not UTF-8
        ([client_frame(b"\xff", BINARY, reserved=RSV1)], 1007),
        ([client_frame(b"x", reserved=1)], 1002),
        ([client_frame(b"x", reserved=2)], 1002),
        ([client_frame(b"x", reserved=RSV1 | 1)], 1002),
        ([client_frame(b"x", PING, reserved=RSV1)], 1002),
        ([client_frame(b"x", PONG, reserved=RSV1)], 1002),
        ([client_frame(b"\x03\xe8", CLOSE, reserved=RSV1)], 1002),
        ([client_frame(b"x", 0, reserved=RSV1)], 1002),
        ([client_frame(b"x", 0x3, reserved=RSV1)], 1002),
        (
            [
                client_frame(deflated(b"{}")[:1], fin=False, reserved=RSV1),
                client_frame(deflated(b"{}")[1:], 0, reserved=RSV1),
            ],
            1002,
        ),
        ([client_frame(b"{", fin=False), client_frame(b"}", 0, reserved=RSV1)], 1002),
        ([client_frame(b"{", fin=False), deflated_frame(b"{}")], 1002),
        ([client_frame(b"", size=2**63, reserved=RSV1)], 1009),
        ([client_frame(deflated(b"{}"), reserved=RSV1, masked=False)], 1002),
    ],
)
async def test_what_is_wrong_is_answered_with_its_code(
    server: Server, frames: list[bytes], code: int
) -> None:
    async with deflating(server.port) as socket, deflating(server.port) as other:
        await socket.send(b"".join(frames) + client_frame(b'{"type":"ping"}'))
        assert (await socket.closed())[0] == code
        assert (await other.ask({"type": "ping"}))["type"] == "reply"
    await until(lambda: not server.node.connections)


async def test_garbage_ends_its_own_connection_alone(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(7)
    ping = json.dumps({"type": "ping", "ref": "r" * 200}).encode()
    async with deflating(server.port) as witness:
        for _ in range(150):
            data = bytearray(deflated(ping))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.3:
                del data[rng.randrange(len(data)) :]
            frames = bytearray()
            while data:
                size = rng.randrange(1, 60)
                piece, data = data[:size], data[size:]
                frames += client_frame(
                    bytes(piece),
                    TEXT if not frames else 0,
                    fin=not data,
                    reserved=RSV1 if not frames else rng.choice([0] * 20 + [RSV1]),
                )
                if rng.random() < 0.2:
                    frames += client_frame(b"p", PING)
            async with deflating(server.port) as socket:
                await socket.send(bytes(frames) + client_frame(b"\x03\xe8", CLOSE))
                assert (await socket.closed())[0] in (1000, 1002, 1007)
        assert (await witness.ask({"type": "ping"}))["type"] == "reply"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_nothing_of_zlib_stays_between_messages(server: Server) -> None:
    async with deflating(server.port, "/ws?channel=a") as socket:
        await socket.send(deflated_frame(b'{"type":"ping"}'))
        await socket.message()
        await socket.message()
        (connection,) = server.node.connections.values()
        protocol: Any = connection
        protocol = protocol.ws_connection
        assert protocol.deflates
        assert protocol._compressor is None and protocol._decompressor is None
        assert not [value for value in vars(protocol).values() if "zlib" in str(type(value))]


# --- an independent client ---


@pytest.mark.parametrize(
    "factory",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_max_window_bits=True),
        ClientPerMessageDeflateFactory(server_max_window_bits=15, client_max_window_bits=9),
        ClientPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        ),
    ],
)
async def test_the_library_websockets_compresses_with_us(
    server: Server, factory: ClientPerMessageDeflateFactory
) -> None:
    def to(path: str) -> Any:
        url = f"ws://127.0.0.1:{server.port}{path}"
        return connect(url, compression=None, extensions=[factory], max_size=None)

    async with to("/ws?channel=a") as native, to("/raw/a") as raw:
        for socket in (native, raw):
            assert names(socket) == ["permessage-deflate"]
        await followed(server, 2)
        assert [json.loads(await native.recv())["type"] for _ in range(2)] == [
            "welcome",
            "subscribed",
        ]
        for sent in ("", "x", PLENTY, "é☃" * 100_000, random.Random(1).randbytes(1000).hex()):
            await raw.send(sent)
            assert await raw.recv() == sent
            assert json.loads(await native.recv())["message"] == sent
        for data in (b"", bytes(300_000), random.Random(1).randbytes(70_000)):
            await raw.send(data)
            assert await raw.recv() == data
            assert "data_base64" in json.loads(await native.recv())
        # In fragments, an empty last one included; a fragment is flushed by itself.
        await raw.send(["one ", "message ", "", "in parts ", PLENTY, ""])
        await (await raw.ping())
        assert await raw.recv() == "one message in parts " + PLENTY
        await native.recv()
        publishing = {"type": "publish", "channel": "a", "message": PLENTY, "ref": 1}
        await native.send(json.dumps(publishing))
        came = {m["type"]: m for m in [json.loads(await native.recv()) for _ in range(2)]}
        assert came["reply"]["ref"] == 1 and came["notification"]["message"] == PLENTY


def names(socket: ClientConnection) -> list[str]:
    return [extension.name for extension in socket.protocol.extensions]
