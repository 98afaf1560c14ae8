"""A service at work: producers, listeners, and the account of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tests.many_nodes.account import Account, Balance, Ledger
from tests.many_nodes.fleet import PATIENCE, Fleet, until
from tests.many_nodes.listeners import KINDS, Listener
from tests.many_nodes.producers import Producer, in_turn
from tests.processes import Process

CHANNELS = ("load:a", "load:b", "load:c")
# A bound, should a test forget its producers: several times what any of them publishes.
_MOST = 5000


class Load:
    """Producers and listeners that work until :meth:`finish`.

    :ivar ledger: of the producers.
    :ivar listeners: with an account each.
    """

    def __init__(self, fleet: Fleet, group: asyncio.TaskGroup) -> None:
        self.fleet = fleet
        self.ledger = Ledger()
        self.listeners: list[Listener] = []
        self._group = group
        self._producers: list[tuple[Producer, asyncio.Task[None]]] = []
        self._listening: list[asyncio.Task[None]] = []

    @property
    def accounts(self) -> list[Account]:
        return [listener.account for listener in self.listeners]

    def listen(
        self, names: Sequence[str] = CHANNELS, kinds: Sequence[type[Listener]] = KINDS
    ) -> None:
        """Add a listener of each kind, on any node."""
        for kind in kinds:
            self.add(kind(f"{kind.__name__} {len(self.listeners)}", self.fleet, names))

    def listen_everywhere(
        self, names: Sequence[str] = CHANNELS, kinds: Sequence[type[Listener]] = KINDS[:2]
    ) -> None:
        """Add listeners on each node of the rotation: they begin there and go back there."""
        for number, node in enumerate(self.fleet.rotation):
            for kind in kinds:
                name = f"{kind.__name__} {len(self.listeners)} on node {number}"
                self.add(kind(name, self.fleet, names, pick=partial(_same, node)))

    def add(self, listener: Listener) -> None:
        self.listeners.append(listener)
        self._listening.append(self._group.create_task(listener.run()))

    async def joined(self) -> None:
        """Wait until every listener has been told of its channels."""
        await until(lambda: all(one.joined() for one in self.listeners), "that all have joined")

    def produce(
        self,
        producers: int = 4,
        *,
        channels: Callable[[int], str] = in_turn(CHANNELS),  # noqa: B008 -- it keeps nothing
        per_second: float = 40.0,
        size: int = 100,
        pick: Callable[[], Process] | None = None,
        most: int = _MOST,
    ) -> None:
        for _ in range(producers):
            producer = Producer(
                f"p{len(self._producers)}",
                self.fleet,
                self.ledger,
                channels,
                per_second=per_second,
                size=size,
                pick=pick,
            )
            self._producers.append((producer, self._group.create_task(producer.run(most))))

    async def acknowledged(self, more: int) -> None:
        """Wait until so many more are acknowledged."""
        goal = self.ledger.count + more
        await until(lambda: self.ledger.count >= goal, f"{more} more acknowledgements")

    async def stop_producing(self) -> None:
        """Let producers end what they have begun."""
        for producer, _ in self._producers:
            producer.stop()
        if self._producers:
            await asyncio.wait([task for _, task in self._producers], timeout=2 * PATIENCE)

    async def finish(self) -> Balance:
        """Let producers end what they have begun, and listeners hear all of it; then compare."""
        await self.stop_producing()
        await self.fleet.until_ready()
        names = sorted(self.ledger.acknowledged)
        stored = {name: await self.fleet.stored(name) for name in names}
        heads = {
            name: entries[-1].place
            for name, entries in stored.items()
            if entries and entries[-1].place is not None
        }

        def behind() -> dict[str, object]:
            missing = {account.name: account.behind(heads) for account in self.accounts}
            return {name: places for name, places in missing.items() if places}

        try:
            await until(lambda: not behind(), "that all have heard all")
        except AssertionError:
            raise AssertionError(f"the logs end at {heads}, {behind()} did not follow") from None
        return Balance(self.ledger, self.accounts, stored)

    def end(self) -> None:
        for task in self._listening:
            task.cancel()
        for _, task in self._producers:
            task.cancel()


def _same(node: Process) -> Process:
    return node


@asynccontextmanager
async def load(fleet: Fleet) -> AsyncIterator[Load]:
    async with asyncio.TaskGroup() as group:
        working = Load(fleet, group)
        try:
            yield working
        finally:
            working.end()
