"""Nodes on one broker, and the way to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.faults import FaultProxy
from tests.many_nodes.account import Entry, parsed
from tests.processes import Process

# Far above what anything here takes on a slow machine: who waits longer waits for nothing.
PATIENCE = 60.0
# Nothing is trimmed: what was ever acknowledged must be in history. Feeds are small, so that who
# comes back needs history; pings are frequent, so that a lost connection is noticed.
SETTINGS = (
    "--history-size=100000",
    "--history-bytes=1GiB",
    "--feed-size=100",
    "--drain-seconds=2",
)


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what processes bring about between themselves."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 -- what is waited for has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"it did not come about: {what}") from None


class Fleet:
    """The nodes of a service.

    :ivar nodes: all that were ever started, in that order.
    :ivar rotation: those that a load balancer sends clients to. A node that is killed stays in
        it until the test takes it out: balancers are slow.
    :ivar balancer: sends each new connection to the first of the rotation.
    """

    def __init__(self, settings: Sequence[str], balancer: FaultProxy) -> None:
        self.nodes: list[Process] = []
        self.rotation: list[Process] = []
        self.balancer = balancer
        self._settings = settings
        self._chance = random.Random(1)

    def start(self, *brokers: str) -> None:
        """Start a node on each of these URLs, all at once, and take them into the rotation."""
        started = []
        for broker in brokers:
            name = f"node {len(self.nodes)}"
            process = Process("--broker", broker, *self._settings, name=name)
            self.nodes.append(process)
            started.append(process)
        for process in started:
            process.wait_until_listening()
        self.rotate(*self.rotation, *started)

    def rotate(self, *nodes: Process) -> None:
        """Send clients to these nodes alone, from now on."""
        self.rotation = list(nodes)
        if nodes:
            self.balancer.target_port = nodes[0].port

    def leave(self, node: Process) -> None:
        """Send nobody to this node any more."""
        self.rotate(*(other for other in self.rotation if other is not node))

    def any(self) -> Process:
        """A node of the rotation, by chance."""
        return self._chance.choice(self.rotation)

    async def until_ready(self, *nodes: Process) -> None:
        """Wait until these nodes are ready; without any, those of the rotation."""
        async with asyncio.timeout(PATIENCE):
            for node in nodes or self.rotation:
                while (await node.not_ready()) is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def until_not_ready(self, node: Process) -> str:
        """Wait until it says that it is not; why."""
        async with asyncio.timeout(PATIENCE):
            while (reason := await node.not_ready()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return reason

    async def stored(self, channel: str) -> list[Entry]:
        """All that history has of a channel, in order."""
        found: list[Entry] = []
        since = "all"
        while True:
            path = f"/channels/{channel}/history?limit=1000&since={since}"
            answer = await self.rotation[0].get(path)
            if answer.status == 404:
                return []
            assert answer.status == 200, answer
            page: dict[str, Any] = answer.json
            found += [Entry(p["id"], parsed(p["position"])) for p in page["publications"]]
            if page["next"] is None:
                return found
            since = page["next"]

    def end(self) -> None:
        for node in self.nodes:
            node.end()


@contextmanager
def fleet(*brokers: str, settings: Sequence[str] = ()) -> Iterator[Fleet]:
    """A node on each of these URLs; one that is wanted twice is named twice."""
    with FaultProxy(0) as balancer:
        nodes = Fleet((*SETTINGS, *settings), balancer)
        try:
            nodes.start(*brokers)
            yield nodes
        finally:
            nodes.end()
