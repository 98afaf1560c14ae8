"""``notifier serve --broker sqlite:…`` as it is run: killed, restarted, out of room."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.frames import CLOSE, TEXT
from tests.handlers.serving import raw_socket, request, wire_to
from tests.processes import Process, server_process

ROUNDS = 4
CHANNELS = ("kill:a", "kill:b", "kill:c")
PRODUCERS = 6
# No history is trimmed here: all that was ever acknowledged must be in it.
SETTINGS = (
    "--history-size=1000000",
    "--history-bytes=1GiB",
    "--feed-size=50",
    "--drain-seconds=0",
)
PATIENCE = 60.0


@contextmanager
def durable_server(path: Path) -> Iterator[Process]:
    with server_process(f"--broker=sqlite:{path}", *SETTINGS) as process:
        yield process


@dataclass
class Account:
    """What was acknowledged, and what a subscriber over all connections was told."""

    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    answers: int = 0
    repeated: int = 0
    heard: dict[str, list[tuple[int, str]]] = field(
        default_factory=lambda: {channel: [] for channel in CHANNELS}
    )
    places: dict[str, str] = field(default_factory=dict)
    connections: int = 0

    @property
    def ids(self) -> set[str]:
        """Of all that was heard."""
        return {id for heard in self.heard.values() for _, id in heard}

    def acknowledge(self, answer: Any) -> None:
        id, channel, position = answer["id"], answer["channel"], answer["position"]
        self.answers += 1
        if id in self.acknowledged:
            self.repeated += 1
        assert self.acknowledged.setdefault(id, (channel, position)) == (channel, position)

    def hear(self, message: Any) -> None:
        kind, channel = message["type"], message.get("channel")
        if kind == "reconnect":
            return
        assert kind in ("subscribed", "notification"), message
        if kind == "subscribed":
            assert message["recovered"] is True, message
            assert self.places.setdefault(channel, message["position"]) == message["position"]
            return
        offset, before = message["offset"], self.places[channel]
        assert message["position"].split(":")[0] == before.split(":")[0], "the epoch changed"
        assert offset == int(before.split(":")[1]) + 1, "something is missing, or comes twice"
        self.places[channel] = message["position"]
        self.heard[channel].append((offset, message["id"]))


async def produce(port: int, account: Account, rng: random.Random, ids: Iterator[int]) -> None:
    """One after the other on one connection, until the server is gone."""
    with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with wire_to(port) as wire:
            while True:
                # Now and then again what was said before, under the same id: it is stored once.
                known = list(account.acknowledged)
                id = rng.choice(known) if known and rng.random() < 0.05 else f"n{next(ids)}"
                channel = CHANNELS[int(id[1:]) % len(CHANNELS)]
                size = int(id[1:]) * 7919 % 3000
                body = json.dumps({"message": "x" * (size + 1), "id": id}).encode()
                head = f"POST /notify/{channel} HTTP/1.1\r\nHost: localhost\r\n"
                head += "Content-Type: application/json\r\n"
                await wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = await wire.answer()
                assert answer.status == 200, answer
                account.acknowledge(answer.json)


async def listen(port: int, account: Account) -> None:
    """All channels on one connection, each from where it was, until the server is gone."""
    with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with raw_socket(port) as socket:
            account.connections += 1
            for channel in CHANNELS:
                since = account.places.get(channel, "all")
                await socket.say({"type": "subscribe", "channel": channel, "since": since})
            while True:
                opcode, payload = await socket.frame()
                if opcode == CLOSE:
                    return
                if opcode == TEXT:
                    account.hear(json.loads(payload))


async def history_of(port: int, channel: str) -> list[tuple[str, str]]:
    """Id and position of every publication, page by page."""
    found: list[tuple[str, str]] = []
    since = "all"
    while True:
        path = f"/channels/{channel}/history?limit=1000&since={since}"
        page = (await request(port, "GET", path)).json
        found += [(p["id"], p["position"]) for p in page["publications"]]
        if page["next"] is None:
            return found
        since = page["next"]


async def work_and_kill(path: Path, account: Account, rng: random.Random, ids: Any) -> None:
    with durable_server(path) as process:
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(produce(process.port, account, rng, ids))
            group.create_task(listen(process.port, account))
            connections, goal = account.connections, account.answers + rng.randrange(50, 1500)
            await until(lambda: account.connections > connections and account.answers >= goal)
            process.signal(signal.SIGKILL)
            await process.exit_code()


async def survive(path: Path, rounds: int, seed: int) -> Account:
    """Kill the server so many times under load; then check every account."""
    rng = random.Random(seed)
    account, ids = Account(), count(1)
    for _ in range(rounds):
        await work_and_kill(path, account, rng, ids)
    with durable_server(path) as process:
        listening = asyncio.create_task(listen(process.port, account))
        stored = {channel: await history_of(process.port, channel) for channel in CHANNELS}
        async with asyncio.timeout(PATIENCE):
            while any(len(account.heard[name]) < len(stored[name]) for name in CHANNELS):
                assert not listening.done() or listening.result()
                await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    for channel, publications in stored.items():
        offsets = [int(position.split(":")[1]) for _, position in publications]
        assert offsets == list(range(1, len(offsets) + 1))
        assert len({position.split(":")[0] for _, position in publications}) == 1
        assert len({id for id, _ in publications}) == len(publications), "stored twice"
        heard = account.heard[channel]
        assert [(o, i) for o, (i, _) in zip(offsets, publications, strict=True)] == heard
    places = {
        id: (channel, position)
        for channel, publications in stored.items()
        for id, position in publications
    }
    lost = account.acknowledged.items() - places.items()
    assert not lost, f"{len(lost)} acknowledged publications are not where they were said to be"
    return account


async def test_kill_9_takes_back_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    account = await survive(tmp_path / "n.db", ROUNDS, seed=1)
    assert len(account.acknowledged) > 100
    assert account.connections > ROUNDS
    assert account.repeated > 0


async def test_client_goes_on_where_it_was_after_an_orderly_restart(tmp_path: Path) -> None:
    account, ids = Account(), count(1)
    for _ in range(2):
        with durable_server(tmp_path / "n.db") as process:
            listening = asyncio.create_task(listen(process.port, account))
            producing = asyncio.create_task(produce(process.port, account, random.Random(1), ids))
            goal = len(account.acknowledged) + 50
            await until(lambda: len(account.acknowledged) >= goal)  # noqa: B023
            process.signal(signal.SIGTERM)
            assert await process.exit_code() == 0
            await asyncio.gather(listening, producing)
    assert files(tmp_path).keys() == {"n.db", "n.db-lock"}, "an orderly end leaves one file"
    with durable_server(tmp_path / "n.db") as process:
        listening = asyncio.create_task(listen(process.port, account))
        await until(lambda: account.acknowledged.keys() <= account.ids)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a process brings about."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def files(directory: Path) -> dict[str, int]:
    """Names and sizes."""
    return {file.name: file.stat().st_size for file in directory.iterdir()}


async def ready(port: int) -> Any:
    return await request(port, "GET", "/health/ready")


async def test_full_disk_is_a_503_that_heals_by_itself(tmp_path: Path) -> None:
    with durable_server(tmp_path / "n.db") as process:
        body = b"x" * 20_000

        async def publish() -> Any:
            return await request(process.port, "POST", "/notify/full", body=body)

        assert (await publish()).status == 200
        async with raw_socket(process.port, "/ws?channel=full") as socket:
            begun = await socket.message()
            # No file of the process may grow any more (setrlimit(2)): to it the disk is full.
            pid = process.pid
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            size = max(files(tmp_path).values())
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 4096, before[1]))
            statuses = [(await publish()).status for _ in range(3)]
            refused = await publish()
            assert statuses[-1] == refused.status == 503
            assert refused.code == 50301
            assert refused.json["error"]["temporary"] is True
            assert refused.headers["retry-after"] == "1"
            health = await ready(process.port)
            assert health.status == 503
            assert "history can't be written" in health.json["reason"]
            stored = await history_of(process.port, "full")
            assert len(stored) == 1 + statuses.count(200)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
            while (await ready(process.port)).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            last = await publish()
            assert last.status == 200
            heard = [(await socket.message())["position"] for _ in range(len(stored))]
            stored = await history_of(process.port, "full")
            assert [begun["position"], *heard] == [position for _, position in stored]
            assert heard[-1] == last.json["position"]


def test_second_process_on_the_file_refuses_to_start(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(durable_server(tmp_path / "n.db"))
        with pytest.raises(AssertionError) as caught:
            stack.enter_context(durable_server(tmp_path / "n.db"))
    said = f"error: cannot use {tmp_path}/n.db as a broker: another process is using it\n"
    assert str(caught.value).endswith(said)
