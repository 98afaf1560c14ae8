"""Who attacks a server disturbs nobody else, and leaves nothing behind.

The attackers come from addresses of their own, and the server is a process of its own. All the
while somebody publishes, and somebody listens.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import json
import os
import select
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from notifier.server import SPARE_FILES
from tests.frames import CLOSE, PING, FrameParser, client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    RawSocket,
    head,
    raw_socket,
    serving,
    until,
    wire_to,
)
from tests.processes import Process, server_process

ATTACKERS = 500
# Addresses that they share, and one that is theirs alone.
BOTNET = [f"127.0.1.{number}" for number in range(1, 11)]
LONER = "127.0.2.1"
# Of one address; the flood of connections is over it.
MOST = 100
SETTINGS = (
    *("--header-timeout", "1.5s", "--ping-interval", "5s", "--ping-timeout", "5s"),
    *("--stalled-seconds", "1.5s"),
    *("--max-connections-per-address", str(MOST), "--max-new-connections-per-second", "500"),
)
# What an allocator keeps for later, beside which a leak of a few KiB a connection shows. Smaller
# ones are counted, below.
SLACK_BYTES = 3 * 2**20
ROUNDS = 4

pytestmark = pytest.mark.alone


class Attacker:
    """A connection that breaks what rules it likes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    @classmethod
    async def connect(cls, port: int, address: str) -> Attacker:
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return cls(connection)

    async def send(self, data: bytes) -> bool:
        """Whether the server still takes something."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError:
            return False
        return True

    async def read(self) -> bytes:
        """Something, or nothing at the end."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
        except OSError:
            return b""

    async def read_all(self) -> bytes:
        """All there is until the server hangs up."""
        received = b""
        while data := await self.read():
            received += data
        return received

    async def hung_up_on(self) -> None:
        """Wait until the server does, reading nothing."""
        poll = select.poll()
        poll.register(self._socket, 0)  # an error, a reset, which need not be asked for
        while not poll.poll(0):  # noqa: ASYNC110 -- an event loop asks for more than that
            await asyncio.sleep(0.05)

    async def upgrade(self, path: str = "/ws?channel=unheard") -> int:
        """Ask for a WebSocket; the status, or 0 where the server just hangs up."""
        await self.send(head("GET", path, HANDSHAKE))
        return int((await self.read())[9:12] or 0)

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def attackers(
    port: int, count: int, addresses: Sequence[str] = BOTNET
) -> AsyncIterator[list[Attacker]]:
    connected = [
        await Attacker.connect(port, addresses[number % len(addresses)]) for number in range(count)
    ]
    try:
        yield connected
    finally:
        for attacker in connected:
            attacker.close()


class Bystanders:
    """One publishes, the other has it before the next is published.

    :ivar delivered: how many so far.
    :ivar slowest: seconds that one of them took.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.delivered = 0
        self.slowest = 0.0

    async def go_on(self) -> None:
        loop = asyncio.get_running_loop()
        async with raw_socket(self._port, "/ws?channel=a") as listener, wire_to(self._port) as post:
            start = await listener.message()
            assert start["type"] == "subscribed"
            offset = int(start["position"].rpartition(":")[2])
            while True:
                offset += 1
                body = str(self.delivered).encode()
                began = loop.time()
                await post.send(
                    head("POST", "/notify/a", {"Content-Length": str(len(body))}) + body
                )
                answer = await post.answer()
                assert answer.status == 200, answer
                received = await self._next(listener)
                assert received == (str(self.delivered), offset), "in order, once"
                self.slowest = max(self.slowest, loop.time() - began)
                self.delivered += 1

    async def _next(self, listener: RawSocket) -> tuple[str, int]:
        while True:
            opcode, payload = await listener.frame()
            if opcode != PING:
                break
            await listener.send(client_frame(payload, 10))
        message = json.loads(payload)
        return message["message"], int(message["position"].rpartition(":")[2])


async def heads_byte_by_byte(port: int) -> None:
    slow = head("GET", "/ws?channel=unheard", HANDSHAKE)
    async with attackers(port, ATTACKERS) as them:
        ended = [asyncio.create_task(one.read_all()) for one in them]
        for byte in slow[:-1]:
            await asyncio.gather(*(one.send(bytes([byte])) for one in them))
            if all(task.done() for task in ended):
                break
        assert set(await asyncio.gather(*ended)) == {b""}, "cut off, in the middle of the head"


async def connections_that_never_speak(port: int) -> None:
    async with attackers(port, ATTACKERS) as them:
        assert set(await asyncio.gather(*(one.read_all() for one in them))) == {b""}


async def more_connections_than_an_address_may_have(port: int) -> None:
    async with attackers(port, ATTACKERS, [LONER]) as them:
        # Those over what may wait at once are hung up on, whatever they say.
        answered = min(MOST + SPARE_FILES, ATTACKERS)
        statuses = await asyncio.gather(*(one.upgrade() for one in them))
        assert statuses.count(101) == MOST
        assert statuses.count(429) >= answered - MOST
        assert set(statuses) <= {101, 429, 0}


async def frames_too_large(port: int) -> None:
    """Announced as over the limit by a byte, and as the most that can be announced."""
    for announced in (2**20 + 200, 2**62):
        async with attackers(port, MOST) as them:
            assert set(await asyncio.gather(*(one.upgrade() for one in them))) == {101}
            start = b"\x82\xff" + announced.to_bytes(8) + b"mask"
            rest = b"x" * 2**16
            for one in them:
                await one.send(start)
            answers = asyncio.gather(*(one.read_all() for one in them))
            for _ in range(4):
                await asyncio.gather(*(one.send(rest) for one in them))
            for answer in await answers:
                frames = list(FrameParser().feed(answer))
                opcode, payload = frames[-1]
                assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, 1009)


async def messages_never_finished(port: int) -> None:
    """Most of a message within the limit, from each of many."""
    async with attackers(port, 50) as them:
        assert set(await asyncio.gather(*(one.upgrade() for one in them))) == {101}
        most = b"\x82\xff" + (2**20).to_bytes(8) + b"mask" + b"x" * 2**19
        await asyncio.gather(*(one.send(most) for one in them))


async def floods_of_commands_and_pings(port: int) -> None:
    floods = [
        client_frame(b'{"type":"ping"}') * 50_000,
        client_frame(b"", PING) * 50_000,
        client_frame(b"x" * 1000) * 5000,
    ]
    async with attackers(port, 20 * len(floods)) as them:
        assert set(await asyncio.gather(*(one.upgrade() for one in them))) == {101}

        async def attack(number: int, one: Attacker) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await one.send(floods[number % len(floods)])

        await asyncio.gather(*(attack(number, one) for number, one in enumerate(them)))


async def answers_never_read(port: int) -> None:
    """More of them than a kernel holds, of each of many."""
    publication = b"x" * 50_000
    async with wire_to(port) as wire:
        for number in range(20):
            # Stored in the first round alone.
            once = {"Idempotency-Key": f"long-{number}", "Content-Length": str(len(publication))}
            await wire.send(head("POST", "/notify/long", once) + publication)
            assert (await wire.answer()).status == 200
    async with attackers(port, MOST) as them:
        asking = head("GET", "/channels/long/history?limit=1000") * 50
        assert all(await asyncio.gather(*(one.send(asking) for one in them)))
        await asyncio.gather(*(one.hung_up_on() for one in them))


ATTACKS = [
    heads_byte_by_byte,
    connections_that_never_speak,
    more_connections_than_an_address_may_have,
    frames_too_large,
    messages_never_finished,
    floods_of_commands_and_pings,
    answers_never_read,
]


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def connections(port: int) -> dict[str, str]:
    """What it counts of each transport."""
    async with wire_to(port) as wire:
        await wire.send(head("GET", "/metrics"))
        text = (await wire.answer()).body.decode()
    lines = (line.rpartition(" ") for line in text.splitlines())
    return {name: value for name, _, value in lines if name.startswith("notifier_connections{")}


@pytest.fixture(scope="module")
def node() -> Iterator[Process]:
    with server_process(*SETTINGS) as node:
        yield node


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells what a process holds")
@pytest.mark.parametrize(
    "attack",
    ATTACKS,
    ids=lambda attack: attack.__name__,
)
async def test_an_attack_disturbs_nobody_and_leaves_nothing_behind(
    node: Process, attack: Callable[[int], Awaitable[None]]
) -> None:
    bystanders = Bystanders(node.port)
    going_on = asyncio.create_task(bystanders.go_on())

    async def attacked() -> int:
        """Bytes in memory when it is over."""
        before = bystanders.delivered
        attacking = asyncio.create_task(attack(node.port))
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({attacking, going_on}, return_when=asyncio.FIRST_COMPLETED)
        if going_on.done():
            going_on.result()
        attacking.result()
        assert bystanders.delivered > before, "it went on all the time"
        # Until the server has seen the last of them go.
        async with asyncio.timeout(PATIENCE):
            while open_files(node.pid) > files or (await connections(node.port)) != counted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return node.memory()

    async with asyncio.timeout(PATIENCE):
        while bystanders.delivered < 100:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.01)
    files, counted = open_files(node.pid), await connections(node.port)
    try:
        # The first times bring what is kept for the next; a leak would take more each time.
        held = await attacked()
        for _ in range(ROUNDS):
            before, held = held, await attacked()
            if held - before < SLACK_BYTES:
                break
        else:
            raise AssertionError(f"{held - before} bytes more, round after round")
        assert bystanders.slowest < 5.0
    finally:
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)


# --- to the last object ---

FEW = 60
# Connections that each makes in a round; of one address no more than that few are let in.
IN_A_ROUND = {
    heads_byte_by_byte: 150,
    connections_that_never_speak: 150,
    more_connections_than_an_address_may_have: 150,
    frames_too_large: 2 * FEW,
    messages_never_finished: 50,
    floods_of_commands_and_pings: 60,
    answers_never_read: FEW,
}
# A round in which nothing stays is enough. With one block for each connection there is none.
TRIES = 6
OURS = ("notifier", "handlers", "tornado", "ssl", "socket")


def forget_cancelled_timers() -> None:
    """asyncio keeps them until there are a hundred, or their time has come."""
    loop: Any = asyncio.get_running_loop()
    loop._scheduled = [timer for timer in loop._scheduled if not timer.cancelled()]
    heapq.heapify(loop._scheduled)
    loop._timer_cancelled_count = 0


def ours() -> Counter[str]:
    """The objects there are of the server's own kinds."""
    kinds = (type(thing) for thing in gc.get_objects())
    return Counter(
        kind.__qualname__ for kind in kinds if str(kind.__module__).split(".")[0] in OURS
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_an_attack_leaves_no_object_behind(
    monkeypatch: pytest.MonkeyPatch, attack: Callable[[int], Awaitable[None]]
) -> None:
    """What is too small for the memory of a process to tell, in each round again."""
    monkeypatch.setattr("tests.handlers.test_floods.ATTACKERS", 150)
    monkeypatch.setattr("tests.handlers.test_floods.MOST", FEW)
    limits = {"max_connections_per_address": FEW, "max_new_connections_per_second": 0}
    slow = attack in (heads_byte_by_byte, connections_that_never_speak)
    patience = {
        "header_timeout": 0.3 if slow else PATIENCE,
        "stalled_seconds": 0.3 if attack is answers_never_read else PATIENCE,
    }
    async with serving(**patience, **limits) as server:
        files = open_files(os.getpid())

        async def left() -> tuple[int, Counter[str]]:
            """Blocks of memory that Python's objects have when it is over; and those objects."""
            await attack(server.port)
            await until(lambda: not server.node.connections)
            await until(lambda: open_files(os.getpid()) <= files)
            for _ in range(3):  # what ends now is let go of in the next turns
                await asyncio.sleep(0)
                forget_cancelled_timers()
                gc.collect()
            return sys.getallocatedblocks(), ours()

        # The first times bring what is kept for the next; a leak would take more each time.
        last = await left()
        for _ in range(TRIES):
            before, last = last, await left()
            growth, more = last[0] - before[0], last[1] - before[1]
            if growth < 0.75 * IN_A_ROUND[attack] and not more:
                break
        else:
            raise AssertionError(f"{growth} blocks more, round after round; of ours {more}")
