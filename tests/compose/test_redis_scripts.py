"""What ``docker-compose.yml`` makes a Redis Cluster and its Sentinels with, in real servers.

A container has an address of its own there, and the usual port; here it is one of 127.0.0.0/8, and
one port for all.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen, run

import pytest

from tests.compose.programs import FILES, PATIENCE, program, until
from tests.handlers.serving import request
from tests.processes import server_process
from tests.redisservers.ports import free_port
from tests.redisservers.server import redis_cli

CLUSTER = [f"127.0.1.{n}" for n in (1, 2, 3)]
MOVED = [f"127.0.1.{n}" for n in (6, 5, 4)]
REDISES = [f"127.0.2.{n}" for n in (1, 2, 3)]
SENTINELS = [f"127.0.2.{n}" for n in (11, 12, 13)]


def answers(address: str, port: int) -> bool:
    asked = run(["redis-cli", "-h", address, "-p", str(port), "ping"], capture_output=True)
    return asked.stdout == b"PONG\n"


async def publish(port: int, message: str) -> str:
    """To a node, once however often; the position, or why there is none."""
    body = json.dumps({"channel": "alerts", "message": message, "id": message}).encode()
    answer = await request(port, "POST", "/notify", body=body)
    return str(answer.json["position"] if answer.status == 200 else answer.code)


# --- cluster ---


@contextmanager
def masters(folder: Path, addresses: list[str], port: int) -> Iterator[None]:
    """Those of the profile ``cluster``, with the arguments that stand there."""
    with ExitStack() as stack:
        for n, address in enumerate(addresses):
            options = ["--cluster-enabled", "yes", "--cluster-announce-hostname", address]
            options += ["--cluster-preferred-endpoint-type", "hostname"]
            # On loopback connections don't come from where their maker listens.
            here = ["--bind", address, "--port", str(port), "--cluster-announce-ip", address]
            command = ["redis-server", FILES / "redis.conf", *options, *here]
            stack.enter_context(program(*command, folder=folder / str(n)))
        for address in addresses:
            until(lambda address=address: answers(address, port))
        yield


def join(addresses: list[str], port: int) -> None:
    script = run(
        ["sh", FILES / "join-cluster.sh", *addresses],
        env=os.environ | {"PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert script.returncode == 0, script.stdout + script.stderr


def links(address: str, port: int) -> list[str]:
    nodes = redis_cli("-h", address, "-p", port, "cluster", "nodes")
    return [line.split()[7] for line in nodes.splitlines()]


def test_masters_become_one_cluster_and_find_each_other_at_other_addresses(tmp_path: Path) -> None:
    port = free_port()
    url = "redis+cluster://" + ",".join(f"{address}:{port}" for address in CLUSTER)
    with masters(tmp_path, CLUSTER, port):
        join(CLUSTER, port)
        join(CLUSTER, port)
        assert links(CLUSTER[1], port) == ["connected"] * 3
        with server_process("--broker", url) as one, server_process("--broker", url) as other:
            until(lambda: asyncio.run(one.not_ready()) is None)
            before = asyncio.run(publish(one.port, "one"))
            epoch = before.partition(":")[0]
            assert asyncio.run(publish(other.port, "two")) == f"{epoch}:2"
    # Containers were made anew: all are elsewhere.
    url = "redis+cluster://" + ",".join(f"{address}:{port}" for address in MOVED)
    with masters(tmp_path, MOVED, port):
        join(MOVED, port)
        until(lambda: links(MOVED[0], port) == ["connected"] * 3)
        with server_process("--broker", url) as node:
            until(lambda: asyncio.run(node.not_ready()) is None)
            assert asyncio.run(publish(node.port, "three")) == f"{epoch}:3"


# --- sentinel ---


class Watched:
    """A primary, two replicas and three sentinels, started by ``keep-config.sh``."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.port, self.sentinel_port = free_port(), free_port()
        self._folder = folder
        self._stack = stack
        self._files = folder / "files"
        self._files.mkdir(exist_ok=True)
        for name in ("redis.conf", "redis-watched.conf", "redis-follower.conf", "sentinel.conf"):
            text = (
                (FILES / name)
                .read_text()
                .replace("redis-primary 6379", f"{REDISES[0]} {self.port}")
            )
            (self._files / name).write_text(text)

    @property
    def url(self) -> str:
        hosts = ",".join(f"{address}:{self.sentinel_port}" for address in SENTINELS)
        return f"redis+sentinel://{hosts}/notifier"

    def redis(self, address: str) -> Popen[bytes]:
        files = ["redis.conf", "redis-watched.conf"]
        if address != REDISES[0]:
            files.append("redis-follower.conf")
        return self._started(address, self.port, files)

    def sentinel(self, address: str) -> Popen[bytes]:
        return self._started(address, self.sentinel_port, ["sentinel.conf"], "--sentinel")

    def _started(self, address: str, port: int, files: list[str], *options: str) -> Popen[bytes]:
        here = self._folder / address
        paths = [self._files / name for name in files]
        where = ["--", *options, "--port", str(port), "--bind", address]
        command = ["sh", FILES / "keep-config.sh", *paths, *where]
        environment = os.environ | {"DATA": str(here), "NAME": address}
        process = self._stack.enter_context(program(*command, folder=here, environment=environment))
        until(lambda: answers(address, port))
        return process

    def primary(self) -> str:
        """As the sentinels say."""
        said = [
            redis_cli(
                *("-h", address, "-p", self.sentinel_port),
                *("sentinel", "get-master-addr-by-name", "notifier"),
            ).split()[0]
            for address in SENTINELS
        ]
        return said[0] if len(set(said)) == 1 else ""

    def followers(self, address: str) -> int:
        """Replicas that have all of it."""
        said = redis_cli("-h", address, "-p", self.port, "info", "replication")
        return said.count("state=online")

    def role(self, address: str) -> str:
        return redis_cli("-h", address, "-p", self.port, "role").split()[0]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(tmp_path, stack)


def test_a_replica_takes_over_and_leads_also_after_a_restart_of_all(watched: Watched) -> None:
    redises = {address: watched.redis(address) for address in REDISES}
    until(lambda: watched.followers(REDISES[0]) == 2)
    sentinels = [watched.sentinel(address) for address in SENTINELS]
    until(lambda: watched.primary() == REDISES[0])
    with server_process("--broker", watched.url, "--redis-wait-replicas", "1") as node:
        until(lambda: asyncio.run(node.not_ready()) is None)
        first = asyncio.run(publish(node.port, "before"))
        epoch = first.partition(":")[0]
        assert first == f"{epoch}:1"

        # Once each of them knows of the replicas and of the others.
        until(lambda: all(known(address, watched.sentinel_port) for address in SENTINELS))
        redises.pop(REDISES[0]).kill()
        until(lambda: watched.primary() not in ("", REDISES[0]), every=0.2)
        until(lambda: asyncio.run(publish(node.port, "after")) == f"{epoch}:2", every=0.2)
    leader = watched.primary()

    # What once was the primary comes back as a replica, and everything else as what it was.
    for process in [*redises.values(), *sentinels]:
        process.terminate()
        process.wait(PATIENCE)
    for address in REDISES:
        watched.redis(address)
    for address in SENTINELS:
        watched.sentinel(address)
    assert watched.primary() == leader
    until(lambda: {one: watched.role(one) for one in REDISES} == roles(leader), every=0.2)


def known(sentinel: str, port: int) -> bool:
    said = redis_cli("-h", sentinel, "-p", port, "info", "sentinel")
    return "slaves=2,sentinels=3" in said


def roles(leader: str) -> dict[str, str]:
    return {one: "master" if one == leader else "slave" for one in REDISES}
