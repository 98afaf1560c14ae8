"""What is to be written, as many at once as have come since the last round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from notifier.brokers.redis.commands import Call, Commands
from notifier.brokers.redis.registry import Registry
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable, NotifierError

# Calls in one round trip, and their bytes.
BATCH = 256
BATCH_BYTES = 1 << 20
# Before what Redis did not take is tried again.
RETRY_SECONDS = 0.1


class Write:
    """A call that is to be carried out, and who waits for it.

    :param channel: what it is about.
    :param remake: makes the call again when the channel has been registered under an epoch.
    :param repeatable: carried out twice, it is as if once.
    :ivar deadline: until when it is tried, by the loop's clock.
    """

    __slots__ = ("call", "channel", "deadline", "done", "remake", "repeatable", "size")

    def __init__(
        self,
        channel: str,
        call: Call,
        size: int,
        *,
        remake: Callable[[str], Call] | None = None,
        repeatable: bool = True,
    ) -> None:
        self.channel = channel
        self.call = call
        self.size = size
        self.remake = remake
        self.repeatable = repeatable
        self.deadline = 0.0
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Writer:
    """Carries out calls in the order they came, to one shard.

    :param patience: seconds for which a call is tried, where Redis does not take it.
    :param max_bytes: that may wait; more are refused.
    """

    def __init__(
        self,
        commands: Commands,
        registry: Registry,
        *,
        patience: float,
        max_bytes: int,
        wait_replicas: int,
        errands: Errands,
    ) -> None:
        self._commands = commands
        self._registry = registry
        self._patience = patience
        self._max_bytes = max_bytes
        self._wait_replicas = wait_replicas
        self._errands = errands
        self._waiting: deque[Write] = deque()
        self._bytes = 0
        self._busy = False

    async def put(self, write: Write) -> Any:
        """Carry it out in its turn, which it gets before anything is awaited; what it gave.

        :raises TooManyChannels:
        :raises BrokerUnavailable: also where too much is waiting.
        """
        size = write.size
        if self._bytes and self._bytes + size > self._max_bytes:
            raise BrokerUnavailable(
                "Redis is slower than what is published (setting max_unwritten_bytes)."
            )
        write.deadline = asyncio.get_running_loop().time() + self._patience
        self._bytes += size
        self._waiting.append(write)
        self._go_on()
        return await write.done

    def _go_on(self) -> None:
        if not self._busy:
            self._busy = True
            self._errands.run(self._write_all())

    async def _write_all(self) -> None:
        batch: list[Write] = []
        try:
            await asyncio.sleep(0)  # what is published in this turn goes together
            while self._waiting:
                batch = self._next_batch()
                left, away = await self._write(batch)
                self._waiting.extendleft(reversed(left))
                batch = []
                if away:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            # Nobody is left to wait for ever, whatever ended it.
            self._busy = False
            for write in (*batch, *self._waiting):
                self._bytes -= write.size
                if not write.done.done():
                    write.done.set_exception(BrokerUnavailable("This node is closing."))
            self._waiting.clear()

    def _next_batch(self) -> list[Write]:
        batch: list[Write] = []
        size = 0
        while self._waiting and len(batch) < BATCH and (size < BATCH_BYTES or not batch):
            write = self._waiting.popleft()
            size += write.size
            batch.append(write)
        return batch

    async def _write(self, batch: list[Write]) -> tuple[list[Write], bool]:
        """Those that are to be written again, and whether Redis should be given a moment."""
        results: list[Any]
        try:
            results = await self._commands.run(
                [write.call for write in batch], wait_replicas=self._wait_replicas
            )
        except BrokerUnavailable as error:
            results = [error] * len(batch)
        now = asyncio.get_running_loop().time()
        left: list[Write] = []
        unborn: set[str] = set()
        away = False
        for write, result in zip(batch, results, strict=True):
            if write.remake is not None and isinstance(result, list) and result[0] == b"unborn":
                try:
                    epoch = result[1].decode()
                    await self._registry.enter(write.channel, epoch)
                except NotifierError as error:
                    result = error
                else:
                    write.call = write.remake(epoch)
                    unborn.add(write.channel)
                    left.append(write)
                    continue
            elif write.channel in unborn:
                left.append(write)  # it has done nothing, and comes after those
                continue
            if isinstance(result, BrokerUnavailable) and write.repeatable and now < write.deadline:
                left.append(write)
                away = True
                continue
            self._bytes -= write.size
            if write.done.done():
                continue
            if isinstance(result, Exception):
                write.done.set_exception(result)
            else:
                write.done.set_result(result)
        return left, away
