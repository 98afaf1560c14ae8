"""How one channel reaches this node: the doorbell says that something came, the stream says what.

::

                     ┌──────────────── the next one rings ───────────────┐
                     ▼                                                   │
    DEAF ──hears──▶ STALE ──read up to its head──▶ FRESH ──a hole, another epoch, silence──▶ STALE
     ▲                                              │
     └──────────────── the connection is lost ──────┘

Only while it is fresh, and only the successor of the last publication, is taken from the doorbell.
Anything else is a reason to read the stream from the last offset on, once for all who listen on
this node. What rings until that is read is kept, and follows it: on a busy channel something
always does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from notifier.brokers.base import Receiver
from notifier.brokers.redis.entry import decode
from notifier.brokers.redis.memory import Memory
from notifier.brokers.redis.reading import Reading
from notifier.notification import Gap, Position

# What may be kept of a channel while it is read; it is read again where that was too little.
EARLY_BYTES = 1 << 17


class Reception:
    """One channel with history.

    :ivar memory: what it has heard of this epoch.
    :ivar head: up to where it has told, or read, everything; ``None`` until it is first read.
    :ivar told: where its receiver is: before ``head`` where the last ones expired before they came.
    :ivar stale: something may have come that was not heard.
    :ivar fresh: set while all that came is known to have been heard.
    :ivar rang: since its owner last looked.
    :ivar awaited: how many want to become its receiver.
    :ivar unused_since: when its receiver left, by the clock of its owner.
    :param on_stale: told that it wants to be read.
    :param on_birth: asked, before the first publication of an epoch, who else wants the channel.
    """

    def __init__(
        self,
        channel: str,
        *,
        on_stale: Callable[[Reception], None],
        on_birth: Callable[[Reception], None],
    ) -> None:
        self.channel = channel
        self.receiver: Receiver | None = None
        self.head: Position | None = None
        self.told: Position | None = None
        self.stale = True
        self.fresh = asyncio.Event()
        self.rang = False
        self.unused_since = 0.0
        self.awaited = 0
        self.clears = 0
        # Nothing of this epoch has been told yet, and its watcher has not been asked.
        self.newborn = False
        self.memory = Memory()
        # What rang since it was fresh: epoch, offset and entry; the newest of it.
        self._early: deque[tuple[str, int, bytes]] = deque()
        self._early_bytes = 0
        self._on_stale = on_stale
        self._on_birth = on_birth

    # --- what the doorbell tells (doorbell.Ear) ---

    def hears(self) -> None:
        # What rang before may have been lost since, with the Redis that rang it.
        self._forget_early()
        self.spoil()

    def rung(self, bell: bytes, message: bytes) -> None:
        self.rang = True
        line, _, entry = message.partition(b"\n")
        kind, *words = line.split(b" ")
        if kind == b"p":
            self._publication(words[0].decode(), int(words[1]), entry)
        elif kind == b"c":
            self._cleared(Position(words[0].decode(), int(words[1])), int(words[2]))
        else:
            self.spoil()

    def spoil(self) -> None:
        """Have it read."""
        self.stale = True
        self.fresh.clear()
        self._on_stale(self)

    def _publication(self, epoch: str, offset: int, entry: bytes) -> None:
        if not self.fresh.is_set():
            self._early.append((epoch, offset, entry))
            self._early_bytes += len(entry)
            while self._early_bytes > EARLY_BYTES:
                self._early_bytes -= len(self._early.popleft()[2])
        elif not self._follows(epoch, offset, entry):
            self.spoil()

    def _follows(self, epoch: str, offset: int, entry: bytes) -> bool:
        """Take it if it is the next one. Whether there is no hole before it."""
        head = self.head
        if head is None or head.epoch != epoch or offset > head.offset + 1:
            return False
        if offset == head.offset + 1:
            self._take(Position(epoch, offset), entry)
        return True

    def _forget_early(self) -> None:
        self._early.clear()
        self._early_bytes = 0

    def _cleared(self, head: Position, clears: int) -> None:
        if not self.fresh.is_set():
            self.spoil()
        elif self.head == head and clears == self.clears + 1:
            self._clear(head, clears)
        elif clears > self.clears or self.head is None or self.head.epoch != head.epoch:
            self.spoil()

    # --- what the stream tells ---

    def adopt(self, head: Position, receiver: Receiver) -> None:
        """It has come to life: here is who hears it from the first publication."""
        self.head = head
        self.newborn = False
        self.listen(receiver)

    def listen(self, receiver: Receiver) -> None:
        """From where it is, tell this one."""
        if self.receiver is not receiver:
            self.receiver = receiver
            self.told = self.head
            receiver.begin(self.head)

    def begin(self, reading: Reading) -> None:
        """It was read for the first time."""
        self.head = Position(reading.epoch, reading.head)
        self.newborn = reading.head == 0
        self.clears = reading.clears
        if reading.same_id:
            self.memory.note(reading.head, reading.same_id)

    def catch_up(self, reading: Reading) -> None:
        """Tell what has come, and what can't be told."""
        assert self.head is not None
        if reading.epoch != self.head.epoch:
            self._change_epoch(reading)
        if reading.floor > self.head.offset:
            first = reading.entries[0][0] if reading.entries else reading.head + 1
            self._gap(Position(reading.epoch, first))
        if reading.clears > self.clears:
            self._clear(Position(reading.epoch, reading.cleared), reading.clears)
        self.clears = reading.clears  # fewer: one was rolled back
        for offset, entry in reading.entries:
            if offset > self.head.offset:
                self._take(Position(reading.epoch, offset), entry)
        if not reading.more and reading.head > self.head.offset:
            # The last of them have expired by themselves.
            self.head = Position(reading.epoch, reading.head)

    def settle(self) -> None:
        """It was read up to its head: take what rang meanwhile, and be fresh."""
        if self.stale:
            return
        early = list(self._early)
        self._forget_early()
        if all(self._follows(*publication) for publication in early):
            self.fresh.set()
        else:
            self.spoil()

    def _change_epoch(self, reading: Reading) -> None:
        """The log it heard was lost, or rolled back: go on in the one there is."""
        assert self.head is not None
        fork = reading.forks.get(self.head.epoch)
        self.newborn = fork is None
        if fork is None:
            self.clears = reading.clears
        self.memory.forget_after(0 if fork is None else fork)
        start = max(0 if fork is None else min(fork, self.head.offset), reading.floor)
        first = next((offset for offset, _ in reading.entries if offset > start), reading.head + 1)
        self._gap(Position(reading.epoch, first))

    # --- telling ---

    def _take(self, place: Position, entry: bytes) -> None:
        publication = decode(self.channel, place, entry)
        if self.newborn:
            self._on_birth(self)
        self.head = self.told = place
        self.memory.note(place.offset, publication.id)
        if self.receiver is not None:
            self.receiver.publication(publication)

    def _gap(self, before: Position) -> None:
        gap = Gap(self.channel, after=self.told, before=before)
        self.head = self.told = gap.position
        if self.receiver is not None:
            self.receiver.gap(gap)

    def _clear(self, head: Position, clears: int) -> None:
        self.clears = clears
        if self.receiver is not None:
            self.receiver.cleared(head)
