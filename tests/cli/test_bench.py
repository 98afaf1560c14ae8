from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from bench.load import server_frame
from notifier.cli.load.load import Load
from notifier.cli.load.refused import Refused
from notifier.client.address import Address
from tests.bench.crooked import Fault, InPieces, crooked, honest
from tests.cli.conftest import Run
from tests.cli.served import Service, Start, start, wait_until
from tests.processes import server_process

__all__ = ["start"]  # a fixture

SOCKETS = 5
WELCOME = server_frame(b'{"type":"welcome"}') + server_frame(b'{"type":"subscribed"}')


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with server_process() as process:
        yield Service(process.port)


def test_it_measures_a_server_and_leaves_nothing_there(notifier: Run, service: Service) -> None:
    few = ["--sockets", "10", "--seconds", "0.2", "--url", service.url]
    done = notifier("bench", *few, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["sockets"] == 10
    for part in ("latency", "fan_out", "batches"):
        assert found[part]["delivered"] == 10 * found[part]["published"] > 0
        assert found[part]["wrong"] == 0
        assert found[part]["p50"] <= found[part]["p99"] <= found[part]["max"]
    assert found["publish"]["delivered"] == 0 < found["publish"]["published"]
    done = notifier("channels", "--url", service.url, "--json")
    assert all(not json.loads(line)["publications"] for line in done.stdout.splitlines())

    done = notifier("bench", *few)
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 sockets connected" in done.stdout
    assert "flat-out" in done.stdout


def test_it_leaves_nothing_there_when_it_is_stopped(service: Service, start: Start) -> None:
    """Ctrl-C, while it publishes."""
    with start("bench", "--sockets", "5", "--seconds", "60", "--url", service.url) as running:
        wait_until(lambda: bool(listed(service)))
        assert running.stop(signal.SIGINT) == 130
    assert listed(service) == []


def listed(service: Service) -> list[dict[str, Any]]:
    """Channels of benchmarks that were published to."""
    with urlopen(f"{service.url}/channels?pattern=bench:*", timeout=20) as answer:
        found: list[dict[str, Any]] = json.load(answer)["channels"]
    return [channel for channel in found if channel["publications"]]


def test_no_server_is_told_of(notifier: Run) -> None:
    done = notifier("bench", "--url", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert done.stderr.startswith("error: cannot reach 127.0.0.1:1: ")
    assert notifier("bench", "--url", "no url").returncode == 2


async def wrong(fault: Fault) -> float:
    """Messages found wrong of those that were published at 100 a second."""

    def measure(port: int) -> float:
        address = Address.parse(f"http://127.0.0.1:{port}")
        with Load(address, "c", size=200) as load:
            load.connect(SOCKETS, lambda done: None)
            return load.publish(0.3, rate=100, advance=lambda done: None)["wrong"]

    async with crooked(fault, WELCOME) as server:
        return await asyncio.to_thread(measure, server.port)


async def test_pings_between_messages_cut_anywhere_are_no_fault() -> None:
    assert await wrong(honest) == 0
    for seed in range(5):
        pieces = InPieces(seed, asides=False)

        def fault(socket: int, number: int, frame: bytes, all: InPieces = pieces) -> list[bytes]:
            return [*all(socket, number, frame), all.rest(socket)]

        assert await wrong(fault) == 0


@pytest.mark.parametrize("sockets", [{2}, set(range(SOCKETS))])
@pytest.mark.parametrize("times", [0, 2])
async def test_what_is_lost_or_repeated_is_found(sockets: set[int], times: int) -> None:
    def fault(socket: int, number: int, frame: bytes) -> Iterable[bytes]:
        return [frame] * (times if number == 3 and socket in sockets else 1)

    try:
        assert await wrong(fault) > 0
    except Refused as refusal:
        assert "not sent the same" in str(refusal)
