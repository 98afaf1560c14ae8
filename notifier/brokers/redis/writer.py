"""What is to be written, as many at once as have come since the last round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.registry import Registry
from notifier.brokers.redis.roundtrips import Call
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
    :ivar tries: how often it was sent.
    :ivar deadline: until when it is tried, by the loop's clock.
    :ivar reason: why it was not carried out when it was last tried.
    """

    __slots__ = (
        "call",
        "channel",
        "deadline",
        "done",
        "reason",
        "remake",
        "repeatable",
        "size",
        "tries",
    )

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
        self.tries = 0
        self.deadline = 0.0
        self.reason = BrokerUnavailable("Redis does not answer in time.")
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Writer:
    """Carries out calls to one shard, those about one channel in the order they came.

    What Redis did not take is tried again with all that came after it in its channel; where some of
    that was taken already, it is refused: it would be out of its order.

    :param patience: seconds for which a call is tried, where Redis does not take it.
    :param max_bytes: that may wait; more are refused.
    :param wait_replicas: so many are to have it before it counts.
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
        # By channel, those that wait for it to be registered.
        self._unborn: dict[str, list[Write]] = {}
        self._bytes = 0
        self._busy = False

    async def put(self, write: Write) -> Any:
        """Carry it out in its turn, which it gets before anything is awaited; what it gave.

        :raises TooManyChannels:
        :raises BrokerUnavailable: also where too much is waiting.
        """
        if self._bytes and self._bytes + write.size > self._max_bytes:
            raise BrokerUnavailable(
                "Redis is slower than what is published (setting max_unwritten_bytes)."
            )
        write.deadline = asyncio.get_running_loop().time() + self._patience
        self._bytes += write.size
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
                left = await self._write(batch) if batch else []
                batch = []
                if left:
                    self._waiting.extendleft(reversed(left))
                    await asyncio.sleep(RETRY_SECONDS)
        except asyncio.CancelledError:
            closing = BrokerUnavailable("This node is closing.")
            self._refuse([*batch, *self._waiting], closing)
            self._waiting.clear()
            raise
        except Exception:
            # A fault of ours: nobody is left to wait for ever, and the next one is tried.
            self._refuse(batch, BrokerUnavailable("It could not be written."))
            raise
        finally:
            self._busy = False
            if self._waiting:
                self._go_on()

    def _next_batch(self) -> list[Write]:
        batch: list[Write] = []
        size = 0
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < BATCH and (size < BATCH_BYTES or not batch):
            write = self._waiting.popleft()
            if now >= write.deadline:
                # To try all that wait behind others, each for its time, could take minutes.
                self._settle(write, write.reason)
                continue
            if write.channel in self._unborn:
                self._unborn[write.channel].append(write)
                continue
            write.tries += 1
            size += write.size
            batch.append(write)
        return batch

    async def _write(self, batch: list[Write]) -> list[Write]:
        """Those that are to be written again in a moment."""
        results: list[Any]
        try:
            results = await self._commands.run(
                [write.call for write in batch], wait_replicas=self._wait_replicas
            )
        except BrokerUnavailable as error:
            results = [error] * len(batch)
        last_taken = {
            write.channel: number
            for number, (write, result) in enumerate(zip(batch, results, strict=True))
            if not isinstance(result, Exception) and not _is_unborn(result)
        }
        now = asyncio.get_running_loop().time()
        left: list[Write] = []
        for number, (write, result) in enumerate(zip(batch, results, strict=True)):
            channel = write.channel
            if write.remake is not None and _is_unborn(result):
                if channel not in self._unborn:
                    self._unborn[channel] = []
                    self._errands.run(self._register(channel, result[1].decode()))
                self._unborn[channel].append(write)
            elif channel in self._unborn:
                self._unborn[channel].append(write)  # it has done nothing, and comes after those
            elif (
                isinstance(result, BrokerUnavailable)
                and write.repeatable
                and now < write.deadline
                and last_taken.get(channel, -1) < number
            ):
                write.reason = result
                left.append(write)
            else:
                self._settle(write, result)
        return left

    async def _register(self, channel: str, epoch: str) -> None:
        """Enter the channel in the registry; then its writes are due again, before all others."""
        failure: Exception | None = None
        away: BrokerUnavailable | None = None
        try:
            try:
                await self._registry.enter(channel, epoch)
            except BrokerUnavailable as error:
                away = error
                await asyncio.sleep(RETRY_SECONDS)
        except NotifierError as error:
            failure = error
        except BaseException:
            self._refuse(self._unborn.pop(channel), BrokerUnavailable("It could not be written."))
            raise
        writes = self._unborn.pop(channel)
        if failure is not None:
            self._refuse(writes, failure)
            return
        for write in writes:
            if away is not None:
                write.reason = away  # they are found unborn again
            elif write.remake is not None:
                write.call, write.tries = write.remake(epoch), 0
        self._waiting.extendleft(reversed(writes))
        self._go_on()

    def _refuse(self, writes: list[Write], error: Exception) -> None:
        for write in writes:
            self._settle(write, error)

    def _settle(self, write: Write, result: Any) -> None:
        self._bytes -= write.size
        if write.done.done():
            return  # whoever asked has given up
        if isinstance(result, Exception):
            write.done.set_exception(result)
        else:
            write.done.set_result(result)


def _is_unborn(result: Any) -> bool:
    """Whether the channel must be registered before anything is stored."""
    return isinstance(result, list) and result[0] == b"unborn"
