"""A server to try the load on: it fans out, and does as it is told to with some messages."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from bench.load import server_frame
from bench.peer import ACCEPT, Peer, Subscribing, request
from bench.process import Running
from tests.frames import PING

# What a socket gets in place of a message: its number, the message's, the frame.
Fault = Callable[[int, int, bytes], Iterable[bytes]]
ASIDE, ANSWER = b"are you there?", b"yes"


def honest(socket: int, number: int, frame: bytes) -> Iterable[bytes]:
    return [frame]


class Crooked:
    """Counts what it hears from its sockets, too."""

    def __init__(self, fault: Fault, welcome: bytes = b"") -> None:
        self.fault = fault
        self.welcome = welcome
        self.port = 0
        self.published = 0
        self.heard = bytearray()
        self._sockets: list[asyncio.StreamWriter] = []
        self._handling: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._handle(reader, writer))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def end(self) -> None:
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    lines = ["HTTP/1.1 101 Switching Protocols", f"Sec-WebSocket-Accept: {ACCEPT}"]
                    writer.write("\r\n".join([*lines, "", ""]).encode() + self.welcome)
                    self._sockets.append(writer)
                    while data := await reader.read(65536):
                        self.heard += data
                    return
                size = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
                self.publish(await reader.readexactly(size))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it has gone
        finally:
            writer.close()

    def publish(self, payload: bytes) -> None:
        for number, writer in enumerate(self._sockets):
            for data in self.fault(number, self.published, server_frame(payload)):
                writer.write(data)
        self.published += 1


@asynccontextmanager
async def crooked(fault: Fault, welcome: bytes = b"") -> AsyncIterator[Crooked]:
    """Serve on a free port.

    :param welcome: what each socket is sent first.
    """
    served = Crooked(fault, welcome)
    server = await asyncio.start_server(served.accept, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield served
        finally:
            await served.end()


class CrookedPeer(Peer):
    """What the load must know of it. It is started by the test."""

    name = "crooked"
    title = "for tests"
    channels = False

    def missing(self) -> None:
        return None

    def versions(self) -> dict[str, str]:
        return {}

    def start(self, port: int, *, folder: object) -> Running:
        raise NotImplementedError

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/", aside=ASIDE, answer=ANSWER)

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", "/", payload)


class InPieces:
    """Cuts what it sends anywhere, with pings and asides between messages, as a server may."""

    def __init__(self, seed: int, *, asides: bool = True) -> None:
        self._with_asides = asides
        self._chance = random.Random(seed)
        self._rest: dict[int, bytes] = {}
        self.pings = 0
        self.asides = 0

    def __call__(self, socket: int, number: int, frame: bytes) -> Iterable[bytes]:
        if self._chance.random() < 0.3:
            self.pings += 1
            frame = bytes((0x80 | PING, 2)) + b"hi" + frame
        if self._with_asides and self._chance.random() < 0.3:
            self.asides += 1
            frame = server_frame(ASIDE) + frame
        data = self._rest.pop(socket, b"") + frame
        cut = self._chance.randrange(len(data))
        self._rest[socket] = data[cut:]
        return [data[:cut]]

    def rest(self, socket: int) -> bytes:
        return self._rest.pop(socket, b"")
