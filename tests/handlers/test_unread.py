"""Who reads no answers is cut off; who reads slowly is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tornado.http1connection import HTTP1ServerConnection
from tornado.iostream import IOStream

from handlers.stream import unacknowledged
from handlers.unread import Unread
from notifier.counts import Counts
from tests.certificates import certificate
from tests.handlers.serving import choked, head, request, serving, until, wire_to

SECONDS = 30.0


class Reader:
    """The two ends of a TCP connection, with an answer on its way."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.connection = HTTP1ServerConnection(IOStream(near))
        self._far = far
        self.answer(4_000_000)

    @classmethod
    def connect(cls) -> Reader:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            far.connect(listening.getsockname())
            far.setblocking(False)
            near, _ = listening.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return cls(near, far)

    def answer(self, size: int) -> None:
        self.connection.stream.write(b"x" * size)
        assert self.connection.stream.writing()

    async def read(self) -> None:
        """Take some, until the other end knows."""
        await self.arrive()
        before = self._taken()
        self._far.recv(1 << 20)
        await until(lambda: self._taken() > before)

    async def arrive(self) -> None:
        """Let what is on its way be there."""
        quiet = 0
        while quiet < 5:
            before = self._taken()
            await asyncio.sleep(0.02)
            quiet = quiet + 1 if self._taken() == before else 0

    def _taken(self) -> int:
        stream = self.connection.stream
        return stream._total_write_done_index - unacknowledged(stream.socket.fileno())

    @property
    def is_cut_off(self) -> bool:
        return bool(self.connection.stream.closed())

    def close(self) -> None:
        self.connection.stream.close()
        self._far.close()


@pytest.fixture
async def readers() -> AsyncIterator[list[Reader]]:
    readers = [Reader.connect() for _ in range(3)]
    yield readers
    for reader in readers:
        reader.close()


async def test_who_takes_nothing_for_so_long_is_cut_off_and_nobody_else(
    readers: list[Reader],
) -> None:
    unread = Unread(Counts(), SECONDS, 0)
    reads, sleeps, done = readers
    await done.read()
    await reads.read()
    await sleeps.arrive()
    connections = [reader.connection for reader in readers]
    unread.sweep(connections, 100.0)
    for step in range(1, 4):
        await reads.read()
        reads.answer(1_000_000)  # what waits for it does not get less
        unread.sweep(connections, 100.0 + step * 0.9 * SECONDS)
        assert not reads.is_cut_off
        assert sleeps.is_cut_off == (step > 1)
    unread.sweep([reads.connection], 100.0 + 2.7 * SECONDS + SECONDS)
    assert reads.is_cut_off


async def test_where_too_much_waits_those_are_cut_off_for_whom_most_does(
    readers: list[Reader],
) -> None:
    most = readers[1]
    most.answer(3_000_000)
    connections = [reader.connection for reader in readers]
    sizes = [len(connection.stream._write_buffer) for connection in connections]
    assert sizes.index(max(sizes)) == 1
    Unread(Counts(), SECONDS, sum(sizes)).sweep(connections, 0.0)
    assert not any(reader.is_cut_off for reader in readers)
    counts = Counts()
    Unread(counts, SECONDS, sum(sizes) - 1).sweep(connections, 0.0)
    assert counts.errors[40804] == 1
    assert [reader.is_cut_off for reader in readers] == [False, True, False]


async def test_who_may_read_when_all_is_sent_is_judged_from_then_on(readers: list[Reader]) -> None:
    connections = [reader.connection for reader in readers]
    sends, judged, _ = readers
    sending = {sends.connection}
    unread = Unread(Counts(), SECONDS, 0, sending=sending)
    unread.sweep(connections, 100.0)
    unread.sweep(connections, 100.0 + SECONDS)
    assert judged.is_cut_off and not sends.is_cut_off
    sending.clear()
    unread.sweep([sends.connection], 100.0 + 1.9 * SECONDS)
    assert not sends.is_cut_off
    unread.sweep([sends.connection], 100.0 + 2 * SECONDS)
    assert sends.is_cut_off


async def test_what_waits_for_those_who_send_is_limited_as_well(readers: list[Reader]) -> None:
    connections = {reader.connection for reader in readers}
    Unread(Counts(), SECONDS, 1, sending=connections).sweep(connections, 0.0)
    assert all(reader.is_cut_off for reader in readers)


LINES = {"Content-Length": "9", "Content-Type": "application/x-ndjson"}
ASKED = {
    "history": head("GET", "/channels/a/history"),
    "a poll": head("GET", "/stream?channel=a&poll=1"),
    "a stream's head": head("GET", "/stream?channel=a"),
    "a file": head("GET", "/static/notifier.js"),
    "a refusal": head("GET", "/nowhere"),
    "a body that is refused": head("POST", "/notify/a", {"Content-Length": "99999999"}) + b"half",
    "lines": head("POST", "/notify/a", LINES) + b'"1"\n"2"\n\n',
}


@pytest.mark.parametrize("what", ASKED)
async def test_no_answer_waits_for_ever(what: str) -> None:
    async with serving(stalled_seconds=0.1) as server:
        assert (await request(server.port, "POST", "/notify/a", body=b"hi")).status == 200
        await until(lambda: not server._http._connections)
        async with choked(server) as wire:
            await wire.send(ASKED[what])
            await until(lambda: not server._http._connections)
        assert server.node.connections._arriving == 0
        await server.node.requests.quiet.wait()


async def test_nor_does_one_over_tls(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=pair.cert)
    settings = {"tls_cert": str(pair.cert), "tls_key": str(pair.key), "stalled_seconds": 0.1}
    async with serving(**settings) as server, AsyncExitStack() as stack:
        body = b"x" * 500_000
        for _ in range(4):
            await request(server.port, "POST", "/notify/a", body=body, tls=trusting)
        for _ in range(3):
            wire = await stack.enter_async_context(
                wire_to(server.port, trusting, receive_buffer=2048)
            )
            stack.callback(wire.reset)  # a goodbye would wait behind what is not read
            await wire.send(head("GET", "/channels/a/history?limit=1000") * 20)
        unread = server._http.unread
        await until(lambda: len(unread._taken) == 3)
        await until(lambda: not server._http._connections)
