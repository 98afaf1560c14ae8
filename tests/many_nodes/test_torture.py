"""Everything at once, by chance: whatever happens to nodes, to Redis and on the way between them,
the account is exact."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime

import pytest

from tests.faults import FaultProxy
from tests.many_nodes.fleet import PATIENCE, Fleet, fleet
from tests.many_nodes.listeners import ByEvents, ByLibrary, ByToken, Remembering
from tests.many_nodes.load import Load, load
from tests.processes import Process
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)

NODES = 3
ROUNDS = 2
# Seconds for which something is away: from hardly noticed to given up.
AWHILE = (0.1, 1.0, 4.0)


class Mischief:
    """What may go wrong, each by a method of its name.

    :param ways: from the nodes to Redis.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        redis: RedisServer,
        ways: list[FaultProxy],
        nodes: Fleet,
        working: Load,
    ) -> None:
        self._rng = rng
        self._redis = redis
        self._ways = ways
        self._nodes = nodes
        self._working = working
        self._mending: list[asyncio.Task[None]] = []

    @property
    def deeds(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (
            self.kill_node,
            self.pause_node,
            self.restart_redis,
            self.pause_redis,
            self.kill_clients,
            self.forget_scripts,
            self.stall_a_way,
            self.cut_a_way,
            self.send_away,
        )

    async def mended(self) -> None:
        """Wait until all that is to pass has passed."""
        await asyncio.gather(*self._mending)

    async def kill_node(self) -> None:
        node = self._rng.choice(self._nodes.rotation)
        node.kill()
        way = self._rng.choice(self._ways)
        way.flow()  # what is held up there must not hold up the test
        await asyncio.to_thread(self._nodes.start, url_of(way))
        self._nodes.leave(node)

    async def pause_node(self) -> None:
        node = self._rng.choice(self._nodes.rotation)
        node.signal(signal.SIGSTOP)
        self._later(lambda: go_on(node))

    async def restart_redis(self) -> None:
        self._redis.kill()
        await asyncio.sleep(self._rng.choice(AWHILE))
        await asyncio.to_thread(self._redis.restart)

    async def pause_redis(self) -> None:
        self._redis.pause()
        await asyncio.sleep(self._rng.choice(AWHILE))
        self._redis.resume()

    async def kill_clients(self) -> None:
        self._redis.cli("CLIENT", "KILL", "TYPE", self._rng.choice(("pubsub", "normal")))

    async def forget_scripts(self) -> None:
        self._redis.cli("SCRIPT", "FLUSH")

    async def stall_a_way(self) -> None:
        way = self._rng.choice(self._ways)
        way.stall()
        self._later(way.flow)

    async def cut_a_way(self) -> None:
        self._rng.choice(self._ways).cut()

    async def send_away(self) -> None:
        some = [one for one in self._working.listeners if isinstance(one, Remembering)]
        listener = self._rng.choice(some)
        listener.go_away()
        self._later(listener.come_back)

    def _later(self, mend: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._rng.choice(AWHILE))
            mend()

        self._mending.append(asyncio.create_task(wait()))


def url_of(way: FaultProxy) -> str:
    return f"redis://127.0.0.1:{way.port}"


def go_on(node: Process) -> None:
    if node.running:
        node.signal(signal.SIGCONT)


@pytest.mark.parametrize("seed", [1])
async def test_account_is_exact_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    # Little is held ready, and little waits: all ways of catching up are gone.
    settings = ["--redis-linger=1", "--feed-size=30"]
    limits = {"client-output-buffer-limit": "pubsub 1mb 256kb 1"}
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(appendfsync="always", options=limits))
        ways = [stack.enter_context(FaultProxy(redis.port)) for _ in range(NODES)]
        nodes = stack.enter_context(fleet(*map(url_of, ways), settings=settings))
        async with load(nodes) as working:
            working.listen()
            working.listen(["born:*"], kinds=[ByToken, ByEvents, ByLibrary])
            await working.joined()
            working.produce(3)
            working.produce(2, channels=lambda number: f"born:{number // 20 % 40}", per_second=20)
            mischief = Mischief(rng, redis=redis, ways=ways, nodes=nodes, working=working)
            # Each in each round, in any order, over what the one before has left behind.
            for _ in range(ROUNDS):
                for deed in rng.sample(mischief.deeds, len(mischief.deeds)):
                    await working.acknowledged(rng.randint(0, 60))
                    sys.stdout.write(f"{datetime.now():%T.%f} {deed.__name__}\n")
                    await deed()
            await mischief.mended()
            await working.acknowledged(30)
            balance = await working.finish()
    sys.stdout.write(f"{balance}\n")
    balance.exact()
