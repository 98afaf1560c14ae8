"""The durable broker of one machine.

What is asked of it waits in one queue; a single writer takes all that waits, carries it out in one
transaction (*group commit*: one ``fsync`` for all of them), and only then is it answered and
announced, on the loop's thread and in the queue's order. So whoever subscribes has its place
between the publications exactly, and one that is announced is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from notifier import logs
from notifier.brokers.base import CannotOpen, Idempotency, Receipt, Receiver, Watcher
from notifier.brokers.keys import Keys
from notifier.brokers.sqlite.database import Database
from notifier.brokers.sqlite.reader import Reader
from notifier.brokers.sqlite.writer import (
    Clear,
    Cleared,
    Locate,
    Located,
    Order,
    Outcome,
    Publish,
    Stored,
    Writer,
    unavailable,
)
from notifier.channels import Namespaces, Pattern
from notifier.errors import BrokerUnavailable, NotifierError
from notifier.history import ChannelState, History
from notifier.notification import Draft, Position, Publication
from notifier.wire.resume import Since

T = TypeVar("T")

# What one transaction holds at most: a turn of the loop announces it.
TRANSACTION_ORDERS = 256
TRANSACTION_BYTES = 4 << 20
# Threads that read, and what may wait for them; the clients' own limits are far below.
READERS = 2
MAX_WAITING_READS = 20_000
# A disk that has not answered for so long is in trouble.
SLOW_SECONDS = 5.0
# What an order costs besides its body.
_ORDER_BYTES = 500

_log = logging.getLogger("notifier.brokers.sqlite")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An order, who waits for it, and what makes the answer of its outcome."""

    order: Order
    answer: asyncio.Future[Any]
    announce: Callable[[Any], Any]

    @property
    def size(self) -> int:
        body = len(self.order.draft.body) if isinstance(self.order, Publish) else 0
        return body + _ORDER_BYTES


@dataclass(frozen=True, slots=True)
class _Reception:
    """A channel's receiver, and the epoch it was told."""

    receiver: Receiver
    epoch: str | None


class SqliteBroker:
    """Keeps the contract of :class:`~notifier.brokers.base.Broker` in a file.

    Ephemeral channels are not written at all.

    :param path: the file; made when it is not there. One process at a time can have it.
    :param history_bytes: bound over all channels; the least recently used are trimmed first.
    :param max_channels: channels that have ever been published to and are remembered.
    :param max_idempotency_keys: keys remembered; the oldest are forgotten first.
    :param max_unwritten_bytes: publications that may wait for the disk; more are refused.
    :param now_ms: the broker's clock, milliseconds since 1970.
    """

    def __init__(
        self,
        path: Path,
        namespaces: Namespaces,
        *,
        history_bytes: int,
        max_channels: int,
        idempotency_ttl: float,
        max_idempotency_keys: int,
        max_unwritten_bytes: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._namespaces = namespaces
        self._max_unwritten_bytes = max_unwritten_bytes
        self._now_ms = now_ms
        self._database = Database(path)
        self._make_writer = partial(
            Writer,
            self._database,
            namespaces,
            history_bytes=history_bytes,
            max_channels=max_channels,
            idempotency_ttl=idempotency_ttl,
            max_idempotency_keys=max_idempotency_keys,
        )
        self._reader = Reader(self._database, namespaces)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._writer: Writer | None = None
        self._work: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Future[Any]] = set()

        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._sweep_wanted = False
        self._closed = True
        # When the disk was asked for what it has not done yet.
        self._asked: float | None = None
        self._trouble: str | None = None
        self._unreadable: str | None = None

        self._receptions: dict[str, _Reception] = {}
        self._watcher: Watcher | None = None
        # Of ephemeral channels.
        self._keys = Keys(ttl=idempotency_ttl, max_keys=max_idempotency_keys)
        self._used: dict[str, int] = {}

    @property
    def prompt(self) -> bool:
        return False

    @property
    def trouble(self) -> str | None:
        if self._trouble is not None:
            return f"history can't be written: {self._trouble}"
        if self._asked is not None and (waited := time.monotonic() - self._asked) > SLOW_SECONDS:
            return f"history can't be written: the disk has not answered for {waited:.0f} s"
        if self._unreadable is not None:
            return f"history can't be read: {self._unreadable}"
        return None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._writer = await loop.run_in_executor(self._writing, self._open)
        self._closed = False
        self._note_trouble()
        self._work = asyncio.create_task(self._work_on())
        self._work.add_done_callback(self._work_ended)

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        self._closed = True
        self._receptions.clear()
        if self._work is not None:
            self._wake.set()
            await asyncio.wait([self._work])
        if self._reads:
            await asyncio.wait(self._reads)
        await asyncio.to_thread(self._close)

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        now_ms = self._now_ms()
        if self._namespaces.of(draft.channel).ephemeral:
            return self._pass_on(draft, idempotency, now_ms)
        order = Publish(draft, idempotency, now_ms)
        return await self._ask(order, partial(self._stored, draft.channel))

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        if self._is_receiver(channel, receiver):
            return
        if self._namespaces.of(channel).ephemeral:
            self._begin(channel, receiver, None)
            return
        await self._ask(Locate(channel, self._now_ms()), partial(self._located, channel, receiver))

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._is_receiver(channel, receiver):
            del self._receptions[channel]
            self._touch(channel)  # who comes back soon must find the counter

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def follow(self, pattern: Pattern) -> None:
        """Nothing to do: all that is published is known here."""

    def unfollow(self, pattern: Pattern) -> None: ...

    async def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None = None,
        newest_first: bool = False,
        key: str | None = None,
    ) -> History:
        if self._namespaces.of(channel).ephemeral:
            return History(channel, None, None, ())
        reception = self._receptions.get(channel)
        page = await self._read(
            partial(
                self._reader.history,
                channel,
                since,
                limit,
                before=before,
                newest_first=newest_first,
                key=key,
                epoch=None if reception is None else reception.epoch,
                now_ms=self._now_ms(),
            )
        )
        if page.head is not None and page.head.offset:
            self._touch(channel)
        return page

    async def clear(self, channel: str) -> int:
        if self._namespaces.of(channel).ephemeral:
            return 0
        return await self._ask(Clear(channel, self._now_ms()), partial(self._cleared, channel))

    async def channel(self, channel: str) -> ChannelState | None:
        if self._namespaces.of(channel).ephemeral:
            return None
        return await self._read(partial(self._reader.channel, channel, self._now_ms()))

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> Sequence[ChannelState]:
        return await self._read(
            partial(self._reader.channels, pattern, after, limit, now_ms=self._now_ms())
        )

    def sweep(self) -> None:
        """Have the writer let go of what time has run out for, and try again what failed."""
        self._keys.forget(self._now_ms())
        self._sweep_wanted = True
        self._wake.set()

    # --- orders ---

    async def _ask(self, order: Order, announce: Callable[[Any], T]) -> T:
        """Have it carried out in its turn; what ``announce`` makes of the outcome.

        It is carried out also when nobody waits any more.
        """
        if self._closed:
            raise unavailable(self._trouble or "the broker is closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(order, answer, announce)
        if self._waiting_bytes and self._waiting_bytes + waiting.size > self._max_unwritten_bytes:
            raise unavailable("too much waits for the disk already (setting max_unwritten_bytes)")
        self._waiting.append(waiting)
        self._waiting_bytes += waiting.size
        self._wake.set()
        return await answer

    async def _work_on(self) -> None:
        """Carry out orders, and sweep, for as long as the broker is open."""
        while self._waiting or not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._sweep_wanted:
                if self._sweep_wanted:
                    self._sweep_wanted = False
                    await self._sweep()
                await self._carry_out()

    async def _carry_out(self) -> None:
        batch, size = self._next_transaction()
        if not batch:
            return
        orders = [waiting.order for waiting in batch]
        told = {order.channel: self._receptions.get(order.channel) for order in orders}
        epochs = {name: told.epoch for name, told in told.items() if told and told.epoch}
        writer = self._writer
        assert writer is not None
        self._hand_over_used(writer)
        try:
            outcomes = await self._on_disk(partial(writer.carry_out, orders, epochs))
        except BaseException:
            self._waiting.extendleft(reversed(batch))  # whoever sees to the end answers them
            raise
        self._waiting_bytes -= size
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._finish(waiting, outcome)

    def _hand_over_used(self, writer: Writer) -> None:
        """While it does nothing: between two of its tasks."""
        used, self._used = self._used, {}
        writer.touch(used, self._now_ms())

    def _next_transaction(self) -> tuple[list[_Waiting], int]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < TRANSACTION_ORDERS and size < TRANSACTION_BYTES:
            waiting = self._waiting.popleft()
            batch.append(waiting)
            size += waiting.size
        return batch, size

    async def _sweep(self) -> None:
        writer = self._writer
        assert writer is not None
        if self._trouble is not None:
            await self._on_disk(writer.probe)
        if self._unreadable is not None:
            with contextlib.suppress(BrokerUnavailable):
                await self._read(partial(self._reader.channel, "", self._now_ms()))
        now_ms = self._now_ms()
        self._hand_over_used(writer)
        due = await self._on_disk(partial(writer.due, now_ms))
        if due is not None:
            followed = {name for name in due if name in self._receptions}
            await self._on_disk(partial(writer.sweep, due, followed, now_ms))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Have the writer do it, who does one thing at a time."""
        self._asked = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writing, work)
        finally:
            self._asked = None
            self._note_trouble()

    def _finish(self, waiting: _Waiting, outcome: Outcome) -> None:
        answer = waiting.answer
        if isinstance(outcome, NotifierError):
            if not answer.done():
                answer.set_exception(outcome)
            return
        if answer.cancelled() and isinstance(outcome, Located):
            return  # nobody is there who would ever unsubscribe it
        result = waiting.announce(outcome)
        if not answer.done():
            answer.set_result(result)

    def _note_trouble(self) -> None:
        assert self._writer is not None
        before, self._trouble = self._trouble, self._writer.trouble
        if self._trouble is not None and before is None:
            logs.event(_log, logging.ERROR, "broker.trouble", reason=self._trouble)
        elif self._trouble is None and before is not None:
            logs.event(_log, logging.INFO, "broker.recovered")

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        """It never should while the broker is open. Then nothing is stored any more."""
        if not self._closed:
            self._closed = True
            self._trouble = "the writer has ended, the server must be restarted"
            error = None if work.cancelled() else work.exception()
            logs.event(_log, logging.CRITICAL, "broker.writer_ended", exc_info=error)
        while self._waiting:
            self._finish(self._waiting.popleft(), unavailable(self._trouble or "it was closed"))

    # --- outcomes, in their order ---

    def _stored(self, channel: str, stored: Stored) -> Receipt:
        publication = stored.publication
        if publication is not None:
            position = publication.position
            assert position is not None
            if position.offset == 1:
                self._announce_birth(channel, Position(position.epoch, 0))
            self._deliver(publication)
        return stored.receipt

    def _located(self, channel: str, receiver: Receiver, located: Located) -> None:
        if not self._is_receiver(channel, receiver):  # it may have been adopted meanwhile
            self._begin(channel, receiver, located.head)
            if located.head.offset:
                self._touch(channel)

    def _cleared(self, channel: str, cleared: Cleared) -> int:
        reception = self._receptions.get(channel)
        if reception is not None and cleared.head is not None:
            self._tell(partial(reception.receiver.cleared, cleared.head))
        return cleared.count

    def _pass_on(self, draft: Draft, idempotency: Idempotency | None, now_ms: int) -> Receipt:
        """In an ephemeral channel."""
        if idempotency is not None:
            first = self._keys.first_answer(idempotency, now_ms)
            if first is not None:
                return first
        receipt = Receipt(draft.id, None)
        if idempotency is not None:
            self._keys.remember(idempotency, receipt, now_ms)
        if draft.channel not in self._receptions:
            self._announce_birth(draft.channel, None)
        self._deliver(
            Publication(
                draft.channel,
                None,
                draft.id,
                draft.time_ms,
                draft.body,
                draft.key,
                draft.expires_ms,
            )
        )
        return receipt

    # --- receivers ---

    def _is_receiver(self, channel: str, receiver: Receiver) -> bool:
        reception = self._receptions.get(channel)
        return reception is not None and reception.receiver is receiver

    def _announce_birth(self, channel: str, head: Position | None) -> None:
        if self._watcher is None:
            return
        watcher = self._watcher
        receiver = self._tell(partial(watcher.born, channel, head))
        if receiver is not None and not self._is_receiver(channel, receiver):
            self._begin(channel, receiver, head)

    def _begin(self, channel: str, receiver: Receiver, head: Position | None) -> None:
        epoch = None if head is None else head.epoch
        self._receptions[channel] = _Reception(receiver, epoch)
        self._tell(partial(receiver.begin, head))

    def _deliver(self, publication: Publication) -> None:
        reception = self._receptions.get(publication.channel)
        if reception is not None:
            self._tell(partial(reception.receiver.publication, publication))

    def _tell(self, call: Callable[[], T]) -> T | None:
        """What fails there must not keep the next ones from hearing, nor the producer's answer."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001
            context = {"message": "a receiver failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            return None

    def _touch(self, channel: str) -> None:
        self._used[channel] = self._now_ms()

    # --- threads ---

    async def _read(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise _unreadable("the broker is closed")
        if len(self._reads) >= MAX_WAITING_READS:
            raise _unreadable("too many wait for it already")
        reading = asyncio.get_running_loop().run_in_executor(self._reading, work)
        self._reads.add(reading)
        reading.add_done_callback(self._reads.discard)
        try:
            result = await reading
        except sqlite3.Error as error:
            self._unreadable = str(error)
            raise _unreadable(self._unreadable) from error
        self._unreadable = None
        return result

    def _open(self) -> Writer:
        """:raises CannotOpen:"""
        self._database.open()
        try:
            writer = self._make_writer()
            self._reader.open(READERS)
        except sqlite3.Error as error:
            raise CannotOpen(f"cannot use {self._database.path} as a broker: {error}") from error
        writer.probe()
        return writer

    def _close(self) -> None:
        self._reading.shutdown()
        self._reader.close()
        if self._writer is not None:
            self._writing.submit(self._writer.close).result()
        self._writing.shutdown()
        self._database.close()


def _unreadable(reason: str) -> BrokerUnavailable:
    return BrokerUnavailable(f"History can't be read just now: {reason}. Try again later.")
