"""Each peer of the benchmark that can run here delivers all that is published, once, in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.cache import make
from bench.peer import Peer
from bench.peers import NAMES, peer
from bench.peers.centrifugo import CentrifugoPeer
from bench.peers.floor import FloorPeer
from bench.process import Running, accepts, free_port
from tests.frames import CLOSE, PING, client_frame
from tests.handlers.serving import RawSocket, Wire, open_stream, until

_PAYLOAD = re.compile(rb"\[(\d+)/(\d+):x*\]")
CHANNEL, OTHER = "bench", "other"


class Served(NamedTuple):
    """A peer that runs."""

    peer: Peer
    port: int
    process: Running


def payload(publisher: int, number: int, size: int = 200) -> bytes:
    """One that tells who published it, and which of his it is."""
    return f"[{publisher}/{number}:".encode().ljust(size - 1, b"x") + b"]"


def run(tested: Peer, folder: Path) -> Served:
    if reason := tested.missing():
        pytest.skip(reason)
    if isinstance(tested, CentrifugoPeer) and not tested.built:
        pytest.skip("not built yet, which takes minutes; `make bench` does it")
    tested.prepare()
    port = free_port()
    return Served(tested, port, tested.start(port, folder=folder))


@pytest.fixture(scope="module", params=NAMES)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Each peer in turn."""
    found = run(peer(request.param), tmp_path_factory.mktemp(request.param))
    yield found
    found.process.stop()


@pytest.fixture(params=["", "--batch"])
def floor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The floor, each way."""
    found = run(FloorPeer(*filter(None, [request.param])), tmp_path)
    yield found
    found.process.stop()


class Subscriber(RawSocket):
    """Keeps what it is sent: who published it, and which of his it was."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.received: list[tuple[int, int]] = []

    async def subscribe(self, tested: Peer, *channels: str) -> None:
        how = tested.subscribing(*channels)
        answer = await self.upgrade(how.path, how.headers)
        assert answer.status == 101, answer
        for text in how.hello:
            await self.send(client_frame(text))
        confirmed = 0
        while how.ready and confirmed < how.ready_count:
            confirmed += (await self.frame()).payload.count(how.ready)

    async def receive(self, count: int) -> list[tuple[int, int]]:
        """Read on until so many have come."""
        while len(self.received) < count:
            opcode, data = await self.frame()
            assert opcode not in (CLOSE, PING), (opcode, data)
            found = _PAYLOAD.findall(data)
            assert found, data
            self.received += [(int(publisher), int(number)) for publisher, number in found]
        return self.received


class Publisher(Wire):
    """Publishes over one connection that is kept alive."""

    async def publish(self, request: bytes) -> None:
        await self.send(request)
        answer = await self.answer()
        assert 200 <= answer.status < 300, answer


@asynccontextmanager
async def subscribers(
    served: Served, count: int, *channels: str, receive_buffer: int | None = None
) -> AsyncIterator[list[Subscriber]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            streams = await open_stream(served.port, receive_buffer=receive_buffer)
            found.append(Subscriber(*streams))
            stack.callback(found[-1].close)
        for subscriber in found:
            await subscriber.subscribe(served.peer, *channels)
        yield found


@asynccontextmanager
async def publishers(served: Served, count: int) -> AsyncIterator[list[Publisher]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(Publisher(*await open_stream(served.port)))
            stack.callback(found[-1].close)
        yield found


async def test_each_payload_arrives_once_and_in_order(served: Served) -> None:
    async with subscribers(served, 20, CHANNEL) as readers, publishers(served, 1) as [publisher]:
        for number in range(100):
            await publisher.publish(served.peer.publish(CHANNEL, payload(0, number)))
        for reader in readers:
            assert await reader.receive(100) == [(0, number) for number in range(100)]


async def test_publishers_at_full_speed_lose_and_repeat_nothing(served: Served) -> None:
    async def publish_all(who: int, publisher: Publisher) -> None:
        for number in range(100):
            await publisher.publish(served.peer.publish(CHANNEL, payload(who, number)))

    async with subscribers(served, 20, CHANNEL) as readers, publishers(served, 8) as writers:
        receiving = [asyncio.create_task(reader.receive(800)) for reader in readers]
        await asyncio.gather(*(publish_all(*each) for each in enumerate(writers)))
        first, *others = await asyncio.gather(*receiving)
        for who in range(8):
            assert [number for by, number in first if by == who] == list(range(100))
        # All see them in one order.
        assert all(other == first for other in others)


async def test_many_in_one_request_arrive_in_order(served: Served) -> None:
    request = served.peer.publish_many(CHANNEL, [payload(0, number) for number in range(50)])
    if request is None:
        pytest.skip("it has no such request")
    async with subscribers(served, 3, CHANNEL) as readers, publishers(served, 1) as [publisher]:
        await publisher.publish(request)
        for reader in readers:
            assert await reader.receive(50) == [(0, number) for number in range(50)]


async def test_a_subscriber_has_its_own_channels_only(served: Served) -> None:
    if not served.peer.channels:
        pytest.skip("it has no channels")
    async with (
        subscribers(served, 1, CHANNEL) as [one],
        subscribers(served, 1, CHANNEL, OTHER) as [both],
        publishers(served, 1) as [publisher],
    ):
        for number in range(20):
            channel = OTHER if number % 2 else CHANNEL
            await publisher.publish(served.peer.publish(channel, payload(0, number)))
        assert await both.receive(20) == [(0, number) for number in range(20)]
        assert await one.receive(10) == [(0, number) for number in range(0, 20, 2)]


def test_its_versions_are_known(served: Served) -> None:
    versions = served.peer.versions()
    assert versions
    for name, version in versions.items():
        assert re.match(r"\d+\.\d+", version), (name, version)


async def test_a_peer_that_is_stopped_is_gone(served: Served, tmp_path: Path) -> None:
    another = run(served.peer, tmp_path)
    pids = another.process.pids
    assert another.process.alive
    another.process.stop()
    assert not another.process.alive
    # Its workers are killed as it is, but nobody waits for them.
    await until(lambda: not any(map(_runs, pids)))
    assert not accepts(another.port)


async def test_the_floor_keeps_what_a_slow_reader_has_not_taken(floor: Served) -> None:
    size, count = 60_000, 200
    async with (
        subscribers(floor, 1, receive_buffer=4096) as [slow],
        subscribers(floor, 1) as [quick],
        publishers(floor, 1) as [publisher],
    ):
        receiving = asyncio.create_task(quick.receive(count))
        for number in range(count):
            await publisher.publish(floor.peer.publish(CHANNEL, payload(0, number, size)))
        assert await receiving == [(0, number) for number in range(count)]
        assert not slow.received
        assert await slow.receive(count) == [(0, number) for number in range(count)]


async def test_the_floor_hangs_up_on_who_is_far_too_far_behind(floor: Served) -> None:
    async with (
        subscribers(floor, 1, receive_buffer=4096) as [stuck],
        publishers(floor, 1) as [publisher],
    ):
        for number in range(30):
            await publisher.publish(floor.peer.publish(CHANNEL, payload(0, number, 1_000_000)))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await stuck.receive(30)
        # The others do not notice.
        async with subscribers(floor, 1) as [another]:
            await publisher.publish(floor.peer.publish(CHANNEL, payload(1, 0)))
            assert await another.receive(1) == [(1, 0)]


async def test_the_floor_survives_what_is_no_request(floor: Served) -> None:
    for bad in (b"BREW / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        async with publishers(floor, 1) as [publisher]:
            await publisher.send(bad)
            assert await publisher.ended() == b""
    async with subscribers(floor, 1) as [leaving]:
        await leaving.send(client_frame(b"\x03\xe8", CLOSE))
        assert await leaving.ended() == b""
    # Cut anywhere, a request is still one.
    async with subscribers(floor, 1) as [reader], publishers(floor, 1) as [publisher]:
        for byte in floor.peer.publish(CHANNEL, payload(0, 0)):
            await publisher.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await publisher.answer()).status == 200
        # And several at once are several.
        await publisher.send(b"".join(floor.peer.publish("", payload(0, n)) for n in (1, 2, 3)))
        assert await reader.receive(4) == [(0, number) for number in range(4)]


def _runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_what_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError

    with pytest.raises(ValueError):
        make(tmp_path / "it", fail)
    assert not list(tmp_path.iterdir())
    make(tmp_path / "it", lambda folder: (folder / "whole").touch())
    make(tmp_path / "it", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
