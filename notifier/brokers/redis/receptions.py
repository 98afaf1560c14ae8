"""The channels that this node hears, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any

from notifier.brokers.base import Receiver, Watcher
from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbell import Listening
from notifier.brokers.redis.doorbells import Doorbells, heard
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.reading import Reading
from notifier.brokers.redis.reception import Reception
from notifier.brokers.redis.refusals import checked
from notifier.brokers.redis.witness import Witness
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.notification import Position

# Channels read in one round trip.
BATCH = 64
# A channel on which nothing rang for so long is read, to be sure.
SILENCE_SECONDS = 15.0
# Before reading is tried again where Redis did not answer, and where what it answered is no log.
RETRY_SECONDS = 0.5
RETRY_FAULTY_SECONDS = 5.0


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
        # Those to be read, by shard; and the shards that are being read, each by itself.
        self._stale: dict[str, dict[Reception, None]] = {}
        self._reading: set[str] = set()
        # Those that are to be read again in a while; and those of which a fault has been reported.
        self._later: set[Reception] = set()
        self._faulty: set[Reception] = set()
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
            self._faulty.discard(reception)
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
        shard = self._commands.shard_of(self._names.log(reception.channel))
        self._stale.setdefault(shard, {})[reception] = None
        if shard not in self._reading:
            self._reading.add(shard)
            self._errands.run(self._read_all(shard))

    async def _read_all(self, shard: str) -> None:
        """Read those of a shard that are stale, until none is."""
        stale = self._stale[shard]
        try:
            while stale:
                batch = list(islice(stale, BATCH))
                for reception in batch:
                    del stale[reception]
                await self._read([r for r in batch if self._receptions.get(r.channel) is r])
        finally:
            self._reading.discard(shard)

    async def _read(self, batch: list[Reception]) -> None:
        """Read each from where it is."""
        asked = [reception.head for reception in batch]
        for reception in batch:
            reception.stale = False
        answers: list[Any]
        try:
            answers = await self._commands.run(
                [
                    self._calls.follow(reception.channel, head)
                    for reception, head in zip(batch, asked, strict=True)
                ]
            )
        except BrokerUnavailable as error:
            answers = [error] * len(batch)
        away: list[Reception] = []
        faulty: list[Reception] = []
        for reception, head, answer in zip(batch, asked, answers, strict=True):
            if self._receptions.get(reception.channel) is not reception:
                continue  # nobody came back while it was read
            try:
                await self._take(reception, head, checked(answer))
            except BrokerUnavailable:
                away.append(reception)
            except Exception as fault:  # noqa: BLE001 (one bad log is not to stop the others)
                faulty.append(reception)
                self._report(reception, fault)
            else:
                self._faulty.discard(reception)
        self._read_later(away, RETRY_SECONDS)
        self._read_later(faulty, RETRY_FAULTY_SECONDS)

    async def _take(self, reception: Reception, head: Position | None, answer: Any) -> None:
        """:param head: where it was when it asked."""
        reading = Reading.of(head, answer)
        if reception.head is not None and reception.memory.contradicts(reading):
            await self._witness.fork(reception.channel, reception.head, reception.memory)
            reception.spoil()
            return
        if reception.head is None:
            reception.begin(reading)
        elif head is None:
            reception.spoil()  # adopted since it asked
        else:
            reception.catch_up(reading)
        if reading.more:
            reception.spoil()
        reception.settle()

    def _read_later(self, receptions: list[Reception], seconds: float) -> None:
        again = [reception for reception in receptions if reception not in self._later]
        if again:
            self._later.update(again)
            self._errands.run(self._wait_and_read(again, seconds))

    async def _wait_and_read(self, receptions: list[Reception], seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._later.difference_update(receptions)
        for reception in receptions:
            if self._receptions.get(reception.channel) is reception:
                self._spoiled(reception)

    def _report(self, reception: Reception, fault: Exception) -> None:
        """Once, until it can be read again."""
        if reception not in self._faulty:
            self._faulty.add(reception)
            context = {"message": f"{reception.channel} can't be read", "exception": fault}
            asyncio.get_running_loop().call_exception_handler(context)
