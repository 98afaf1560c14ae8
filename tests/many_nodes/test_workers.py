"""Workers on one port, with Redis between them: together they keep what a node promises."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet, until
from tests.many_nodes.load import load
from tests.processes import Process
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)

TWO = ("--workers=2",)
# Connections are spread by chance; that all of so many end up with one worker is out of the world.
_MOST_LISTENERS = 100


def pids(service: Process) -> list[tuple[str, int]]:
    """Each worker that was started: its number and its process."""
    found = re.findall(r"worker\.started worker=(\d+) pid=(\d+)", service.log)
    return [(worker, int(pid)) for worker, pid in found]


def connections(service: Process) -> Counter[str]:
    """How many were ever opened, by worker."""
    return Counter(re.findall(r"connection\.opened worker=(\d+)", service.log))


async def test_worker_that_is_killed_is_replaced_and_nobody_misses_anything() -> None:
    with RedisServer() as redis, fleet(redis.url, settings=TWO) as nodes:
        (service,) = nodes.nodes
        await until(lambda: "supervisor.ready" in service.log, "that both workers listen")
        async with load(nodes) as working:
            while len(connections(service)) < 2:
                assert len(working.listeners) < _MOST_LISTENERS
                working.listen()
                await working.joined()
            # Producers come over connections of their own, so some ask one, some the other.
            working.produce(8)
            await working.acknowledged(100)
            for number in (0, 1):
                worker, pid = pids(service)[number]
                os.kill(pid, signal.SIGKILL)
                await until(lambda: len(pids(service)) == 3 + number, "that it is replaced")  # noqa: B023
                assert pids(service)[-1][0] == worker
                await until(
                    lambda: service.log.count("server.listening") == 3 + number,  # noqa: B023
                    "that the new one listens",
                )
                await working.acknowledged(100)
            balance = await working.finish()
            balance.exact()
            assert sum(account.connections for account in balance.accounts) > len(working.listeners)

            # While the listeners are still there, so that they are sent away.
            service.terminate()
            assert await service.exit_code() == 0
            stopped = re.findall(r"server\.stopped worker=(\d)\n", service.log)
            assert sorted(stopped) == ["1", "2"]
            assert "connection.closed" in service.log


async def test_clients_of_both_workers_get_the_same() -> None:
    with RedisServer() as redis, fleet(redis.url, settings=TWO) as nodes:
        (service,) = nodes.nodes
        await until(lambda: "supervisor.ready" in service.log, "that both workers listen")
        async with load(nodes) as working:
            while len(connections(service)) < 2:
                assert len(working.listeners) < _MOST_LISTENERS
                working.listen()
                await working.joined()
            working.produce()
            await working.acknowledged(100)
            balance = await working.finish()
    balance.exact()
    assert {account.connections for account in balance.accounts} == {1}
