"""Listeners that come back, each by the rules of its transport, to whichever node is there."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import notifier.client
from notifier.client import Gap
from tests.many_nodes.account import Account, parsed
from tests.many_nodes.fleet import Fleet
from tests.processes import Process
from tests.transports.clients import Client, Commands, Ended, Events, Lines, Native, Refused
from tests.transports.program import EachPosition, LastEventId, Memory, Positions

_PAUSE = 0.05


class Listener(ABC):
    """Follows its channels from their beginning, until it is cancelled.

    :param pick: the node to connect to next; by default any of the fleet.
    """

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        names: Sequence[str],
        *,
        pick: Callable[[], Process] | None = None,
    ) -> None:
        self.account = Account(name, names)
        self._fleet = fleet
        self._names = names
        self._pick = pick or fleet.any

    @abstractmethod
    async def run(self) -> None: ...

    def joined(self) -> bool:
        """Whether it has been told of all that it asked for."""
        return all(name in {*self.account.places, *self.account.patterns} for name in self._names)


class Remembering(Listener):
    """One of the small clients of ``tests/transports``, with what a program remembers."""

    client: type[Client]
    memory: type[Memory]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client: Client | None = None
        self._here = asyncio.Event()
        self._here.set()

    def go_away(self) -> None:
        """Hang up, and stay away until :meth:`come_back`."""
        self._here.clear()
        if self._client is not None:
            self._client.close()

    def come_back(self) -> None:
        self._here.set()

    async def run(self) -> None:
        memory = self.memory(self._names, "all")
        while True:
            await self._here.wait()
            client = None
            try:
                client = await self.client.connect(self._pick().port, memory.asks())
                self._client = client
                self.account.connections += 1
                self.account.trail.append(f"connected, asking for {memory.asks()}")
                memory.connected(client)
                await self._follow(client, memory)
            except OSError:
                await asyncio.sleep(_PAUSE)
            except Refused as refusal:
                assert refusal.error["temporary"], refusal
                await asyncio.sleep(_PAUSE)
            except Ended:
                if client is not None:
                    memory.ended(client)
                await asyncio.sleep(_PAUSE)
            finally:
                if client is not None:
                    client.close()
                self._client = None

    async def _follow(self, client: Client, memory: Memory) -> None:
        while True:
            try:
                message = await client.message()
            except TimeoutError:
                continue  # a quiet time
            if message["type"] == "error":
                raise Refused(message)
            self.account.trail.append(f"{str(message)[:250]}")
            try:
                if memory.take(client, message):
                    self.account.take(message)
            except AssertionError as error:
                trail = "\n".join(self.account.trail)
                raise AssertionError(f"{error}\nThe last that it was told:\n{trail}") from error


class ByToken(Remembering):
    """``/ws``, with a resume token in its URL."""

    client = Native
    memory = Positions


class ByCommands(Remembering):
    """``/ws``, with a command and a position for each channel."""

    client = Commands
    memory = EachPosition


class ByEvents(Remembering):
    """``/events``, with ``Last-Event-ID``."""

    client = Events
    memory = LastEventId


class ByLines(Remembering):
    """``/stream``, with ``since``."""

    client = Lines
    memory = Positions


class ByLibrary(Listener):
    """``notifier.client``, through the load balancer."""

    async def run(self) -> None:
        async with notifier.client.connect(self._fleet.balancer.url, max_delay=0.5) as client:
            subscription = client.subscribe(*self._names, since="all", on_change=self._changed)
            async for item in subscription:
                if isinstance(item, Gap):
                    self.account.miss(item.channel, item.after, item.before)
                else:
                    self.account.hear(item.channel, item.id, parsed(item.position))

    def _changed(self, change: notifier.client.Change) -> None:
        self.account.connections += change.state == "open"

    def joined(self) -> bool:
        return self.account.connections > 0


SMALL: tuple[type[Remembering], ...] = (ByToken, ByCommands, ByEvents, ByLines)
KINDS: tuple[type[Listener], ...] = (*SMALL, ByLibrary)
