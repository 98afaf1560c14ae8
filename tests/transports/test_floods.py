"""Who sends without end what nobody asked for delays nobody."""

from __future__ import annotations

import asyncio
import fcntl
import random
import socket
import struct
from collections.abc import AsyncIterator
from termios import FIONREAD, TIOCOUTQ

import pytest

from tests.frames import PING, PONG, client_frame
from tests.rawsocket import Service, serving, until
from tests.transports.clients import Asked, Client, Events, Lines, Native
from tests.transports.transports import Transport, over

MEGABYTE = 2**20


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as service:
        yield service


class Turns:
    """Counts the turns of the loop: each is a turn for everybody else."""

    def __init__(self) -> None:
        self.count = 0
        self._counting = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    def stop(self) -> int:
        self._counting.cancel()
        return self.count


def queued(end: socket.socket, which: int) -> int:
    """Bytes that wait in a socket: sent and not yet received, or received and not yet read."""
    (count,) = struct.unpack("i", fcntl.ioctl(end, which, b"\0" * 4))
    return int(count)


@pytest.mark.parametrize("client", [Events, Lines])
async def test_a_flood_into_a_stream_leaves_everybody_a_turn(
    service: Service, client: type[Client]
) -> None:
    flooder = await client.connect(service.port, Asked(["a"]))
    service.clients.append(flooder)
    await flooder.real_message()
    duplicate = flooder.socket.dup()
    duplicate.setblocking(True)
    turns = Turns()
    await asyncio.to_thread(duplicate.sendall, b"x" * 256 * MEGABYTE)
    (sink,) = service.node.connections
    # Until what the kernel still has of it has been read as well.
    await until(
        lambda: (
            not queued(duplicate, TIOCOUTQ) and not queued(sink._stream._stream.socket, FIONREAD)
        )
    )
    duplicate.close()
    # 64 KiB a turn, and not as much as there is.
    assert turns.stop() >= 256 * 16
    await service.publish("a", "hi")
    assert (await flooder.real_message())["message"] == "hi"


@pytest.mark.parametrize("kind", ["pings", "pongs", "fragments"])
async def test_a_flood_of_small_frames_leaves_everybody_a_turn(service: Service, kind: str) -> None:
    flooder = await Native.connect(service.port, Asked(["a"]))
    service.clients.append(flooder)
    while (await flooder.real_message())["type"] != "subscribed":
        pass
    frames = {
        "pings": client_frame(b"", PING) * 50_000,
        "pongs": client_frame(b"", PONG) * 50_000,
        "fragments": client_frame(b"{", fin=False) + client_frame(b"", 0, fin=False) * 49_999,
    }
    turns = Turns()
    await flooder.send(frames[kind])
    end = client_frame(b"}", 0) if kind == "fragments" else client_frame(b"{}")
    await flooder.send(end)
    assert (await flooder.real_message())["code"] == 40009, "the answer to what came last"
    assert turns.stop() > 100


@over(lambda over: over.streams and over.endless)
async def test_no_bytes_after_the_request_disturb_a_stream(
    service: Service, over: Transport
) -> None:
    rng = random.Random(over.name)
    client = await over.client.connect(service.port, Asked(over.names, "all"))
    service.clients.append(client)
    for number in range(30):
        await client.send(rng.randbytes(rng.choice([1, 10, 1000, 100_000])))
        if number % 3 == 0:
            await service.publish(over.channels[0], str(number))
            while (message := await client.real_message())["type"] == "subscribed":
                pass
            assert message["message"] == str(number)
    assert len(service.node.connections) == 1


async def test_who_publishes_without_end_leaves_everybody_a_turn(service: Service) -> None:
    flooder = await Native.connect(service.port, Asked(["b"]))
    service.clients.append(flooder)
    while (await flooder.real_message())["type"] != "subscribed":
        pass
    command = b'{"type":"publish","channel":"a","message":"' + b"x" * 1000 + b'"}'
    turns = Turns()
    await flooder.send(client_frame(command) * 2000)
    for offset in range(1, 2001):
        reply = await flooder.real_message()
        assert reply["result"]["position"].endswith(f":{offset}")
    assert turns.stop() > 50
