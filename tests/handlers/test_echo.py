"""``/echo``, and a WebSocket that connects to ``/``: what the smallest programs talk to."""

from __future__ import annotations

import pytest
from websockets.asyncio.client import connect

from notifier.server import Server
from tests.frames import BINARY, CLOSE, PING, PONG, TEXT, client_frame
from tests.handlers.serving import raw_socket, until

both = pytest.mark.parametrize("path", ["/echo", "/"])


@both
async def test_text_comes_back_greeted_and_bytes_as_they_are(server: Server, path: str) -> None:
    async with connect(f"ws://localhost:{server.port}{path}") as socket:
        for text in ("hello", "", "été ☃", "x" * 70000):
            await socket.send(text)
            assert await socket.recv() == "Reçu: " + text
        for data in (b"", b"\x00\xff", bytes(70000)):
            await socket.send(data)
            assert await socket.recv() == data


@both
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},  # a page from file://
        {"Origin": "https://tutorial.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "my-laptop.lan:8888"},
        {"Sec-WebSocket-Protocol": "chat"},
    ],
)
async def test_it_is_open_to_every_page(server: Server, path: str, headers: dict[str, str]) -> None:
    async with raw_socket(server.port, path, headers) as socket:
        await socket.send(client_frame(b"hi"))
        assert await socket.frame() == (TEXT, "Reçu: hi".encode())


async def test_it_answers_in_order_whatever_is_mixed(server: Server) -> None:
    async with raw_socket(server.port, "/echo") as socket:
        await socket.send(
            client_frame(b"a", fin=False)
            + client_frame(b"p", PING)
            + client_frame(b"b", 0)
            + client_frame(b"c", BINARY)
            + client_frame((1000).to_bytes(2), CLOSE)
        )
        frames = [await socket.frame() for _ in range(4)]
        assert frames == [
            (PONG, b"p"),
            (TEXT, "Reçu: ab".encode()),
            (BINARY, b"c"),
            (CLOSE, (1000).to_bytes(2)),
        ]


async def test_who_sends_and_never_reads_is_not_read_either(server: Server) -> None:
    async with raw_socket(server.port, "/echo") as greedy:
        for _ in range(100):
            greedy.give(client_frame(b"x" * 500_000, BINARY))
        (sink,) = server.node.connections
        await until(lambda: sink.blocked)
        assert sink.unread() < 16 * 2**20
        async with raw_socket(server.port, "/echo") as other:
            await other.send(client_frame(b"hi"))
            assert await other.frame() == (TEXT, "Reçu: hi".encode())
        greedy.reset()


async def test_a_page_that_leaves_is_forgotten(server: Server) -> None:
    async with raw_socket(server.port, "/echo"):
        assert len(server.node.connections) == 1
    await until(lambda: not server.node.connections)
