"""The channels that this node hears, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from notifier.brokers.base import Receiver, Watcher
from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbell import Listening
from notifier.brokers.redis.doorbells import Doorbells, heard
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.reading import Reading
from notifier.brokers.redis.reception import Reception
from notifier.brokers.redis.witness import Witness
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.notification import Position

# Channels read in one round trip.
BATCH = 64
# A channel on which nothing rang for so long is read, to be sure.
SILENCE_SECONDS = 15.0
# Before reading is tried again where Redis did not answer.
RETRY_SECONDS = 0.5


class Receptions:
    """One for each channel with history that somebody here listens to.

    :param linger_seconds: a channel is heard for so long after its last listener has left.
    :param timeout: seconds that becoming a receiver may take.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        commands: Commands,
        doorbells: Doorbells,
        names: Names,
        calls: Calls,
        witness: Witness,
        *,
        linger_seconds: float,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._doorbells = doorbells
        self._names = names
        self._calls = calls
        self._witness = witness
        self._linger_seconds = linger_seconds
        self._timeout = timeout
        self._clock = clock
        self._watcher: Watcher | None = None
        self._receptions: dict[str, Reception] = {}
        self._listening: dict[str, Listening] = {}
        # Those without a receiver, the one that has been so for longest first.
        self._unused: dict[str, Reception] = {}
        self._stale: dict[Reception, None] = {}
        self._reading = False
        self._unchecked: list[Reception] = []
        self._errands = Errands()

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def close(self) -> None:
        await self._errands.close()

    # --- who listens ---

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        """Tell the receiver where the channel is, and then all that comes.

        :raises BrokerUnavailable: it can't be heard just now.
        """
        reception = self._receptions.get(channel)
        if reception is None:
            reception = self._listen(channel)
        elif reception.receiver is receiver:
            return
        self._unused.pop(channel, None)
        reception.awaited += 1
        try:
            await heard(self._listening[channel], self._timeout)
            if reception.receiver is None:
                reception.spoil()  # what is stored may not have rung here yet
            await self._fresh(reception)
            reception.listen(receiver)
        finally:
            reception.awaited -= 1
            self._leave_if_unused(reception)

    async def _fresh(self, reception: Reception) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await reception.fresh.wait()
        except TimeoutError:
            raise BrokerUnavailable("Redis does not show this channel to us just now.") from None

    def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        reception = self._receptions.get(channel)
        if reception is not None and reception.receiver is receiver:
            reception.receiver = None
            self._leave_if_unused(reception)

    def newer(self, channel: str, epoch: str) -> None:
        """Another epoch than ours has been seen."""
        reception = self._receptions.get(channel)
        if reception is not None and reception.head and reception.head.epoch != epoch:
            reception.spoil()

    def born(self, channel: str, epoch: str) -> None:
        """A channel has come to life, somewhere."""
        reception = self._receptions.get(channel)
        if reception is None or reception.head is None:
            # Also one that is read for the first time: then that may come too late.
            head = Position(epoch, 0)
            receiver = None if self._watcher is None else self._watcher.born(channel, head)
            if receiver is not None:
                self._unused.pop(channel, None)
                (reception or self._listen(channel)).adopt(head, receiver)
        elif reception.head.epoch != epoch:
            reception.spoil()
        elif reception.newborn:
            self._ask_watcher(reception)

    def _ask_watcher(self, reception: Reception) -> None:
        """Before the first publication of an epoch is told."""
        reception.newborn = False
        assert reception.head is not None
        if self._watcher is not None:
            receiver = self._watcher.born(reception.channel, reception.head)
            if receiver is not None:
                self._unused.pop(reception.channel, None)
                reception.listen(receiver)

    def _listen(self, channel: str) -> Reception:
        reception = Reception(
            channel,
            on_stale=self._spoiled,
            on_birth=self._ask_watcher,
        )
        self._receptions[channel] = reception
        self._listening[channel] = self._doorbells.listen(self._names.bell(channel), reception)
        return reception

    def _leave_if_unused(self, reception: Reception) -> None:
        if reception.receiver is None and not reception.awaited:
            reception.unused_since = self._clock()
            self._unused[reception.channel] = reception

    def sweep(self) -> None:
        """Let go of channels that nobody came back to; look into those where nothing rings."""
        now = self._clock()
        while self._unused:
            reception = next(iter(self._unused.values()))
            if now - reception.unused_since < self._linger_seconds:
                break
            channel = reception.channel
            del self._unused[channel], self._receptions[channel], self._listening[channel]
            self._stale.pop(reception, None)
            self._doorbells.ignore(self._names.bell(channel))
        if not self._unchecked:
            self._unchecked = list(self._receptions.values())
        count = max(1, round(len(self._receptions) / SILENCE_SECONDS))
        for reception in self._unchecked[-count:]:
            if self._receptions.get(reception.channel) is not reception:
                continue
            if not reception.rang or not reception.fresh.is_set():
                reception.spoil()
            reception.rang = False
        del self._unchecked[-count:]

    # --- reading ---

    def _spoiled(self, reception: Reception) -> None:
        self._stale[reception] = None
        if not self._reading:
            self._reading = True
            self._errands.run(self._read_all())

    async def _read_all(self) -> None:
        """Read those that are stale, until none is."""
        try:
            while self._stale:
                batch = list(islice(self._stale, BATCH))
                for reception in batch:
                    del self._stale[reception]
                try:
                    await self._read(batch)
                except BrokerUnavailable:
                    self._stale = dict.fromkeys(
                        r for r in (*batch, *self._stale) if self._receptions.get(r.channel) is r
                    )
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._reading = False

    async def _read(self, batch: list[Reception]) -> None:
        """Read each from where it is.

        :raises BrokerUnavailable: some are still as stale as before.
        """
        asked = [reception.head for reception in batch]
        for reception in batch:
            reception.stale = False
        answers = await self._commands.run(
            [
                self._calls.follow(reception.channel, head)
                for reception, head in zip(batch, asked, strict=True)
            ]
        )
        failed: BrokerUnavailable | None = None
        for reception, head, answer in zip(batch, asked, answers, strict=True):
            if self._receptions.get(reception.channel) is not reception:
                continue  # nobody came back while it was read
            if isinstance(answer, BrokerUnavailable):
                failed = answer
                self._stale[reception] = None
                continue
            if isinstance(answer, Exception):
                # Of one channel: the others are not to wait. It is tried again when swept.
                loop = asyncio.get_running_loop()
                context = {"message": f"{reception.channel} can't be read", "exception": answer}
                loop.call_exception_handler(context)
                continue
            reading = Reading.of(head, answer)
            if reception.head is not None and reception.memory.contradicts(reading):
                await self._witness.fork(reception.channel, reception.head, reception.memory)
                reception.spoil()
                continue
            if reception.head is None:
                reception.begin(reading)
            elif head is None:
                reception.spoil()  # adopted since it asked
            else:
                reception.catch_up(reading)
            if reading.more:
                reception.spoil()
            reception.settle()
        if failed is not None:
            raise failed
