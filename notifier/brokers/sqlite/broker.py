"""The durable broker of one machine.

What is asked of it waits in one queue; a single writer takes all that waits, carries it out in one
transaction (*group commit*: one ``fsync`` for all of them), and only then is it answered and
announced, on the loop's thread and in the queue's order. So whoever subscribes has its place
between the publications exactly, and one that is announced is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from notifier.brokers.base import CannotOpen, Idempotency, Receipt, Receiver, Watcher
from notifier.brokers.keys import Keys
from notifier.brokers.sqlite.database import Database
from notifier.brokers.sqlite.groupcommit import GroupCommit
from notifier.brokers.sqlite.reader import Reader
from notifier.brokers.sqlite.receptions import Receptions
from notifier.brokers.sqlite.writer import (
    Clear,
    Cleared,
    Locate,
    Located,
    Publish,
    Stored,
    Writer,
)
from notifier.channels import Namespaces, Pattern
from notifier.errors import BrokerUnavailable
from notifier.history import ChannelState, History
from notifier.notification import Draft, Position
from notifier.wire.resume import Since

T = TypeVar("T")

# Threads that read, and what may wait for them; the clients' own limits are far below.
READERS = 2
MAX_WAITING_READS = 20_000


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
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._reads: set[asyncio.Future[Any]] = set()
        self._unreadable: str | None = None
        self._receptions = Receptions()
        self._commits = GroupCommit(
            self._receptions,
            max_unwritten_bytes=max_unwritten_bytes,
            on_sweep=self._read_again,
            now_ms=now_ms,
        )
        # Of ephemeral channels.
        self._keys = Keys(ttl=idempotency_ttl, max_keys=max_idempotency_keys)

    @property
    def prompt(self) -> bool:
        return False

    @property
    def trouble(self) -> str | None:
        if (trouble := self._commits.trouble) is not None:
            return trouble
        if self._unreadable is not None:
            return f"history can't be read: {self._unreadable}"
        return None

    async def open(self) -> None:
        await self._commits.open(self._open)

    async def close(self) -> None:
        """Write what waits, then let go of the file."""
        self._receptions.clear()
        await self._commits.finish()
        if self._reads:
            await asyncio.wait(self._reads)
        await asyncio.to_thread(self._close)

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        now_ms = self._now_ms()
        if self._namespaces.of(draft.channel).ephemeral:
            return self._pass_on(draft, idempotency, now_ms)
        order = Publish(draft, idempotency, now_ms)
        return await self._commits.ask(order, partial(self._stored, draft.channel))

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receptions.has(channel, receiver):
            return
        if self._namespaces.of(channel).ephemeral:
            self._receptions.begin(channel, receiver, None)
            return
        await self._commits.ask(
            Locate(channel, self._now_ms()), partial(self._located, channel, receiver)
        )

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receptions.has(channel, receiver):
            self._receptions.end(channel)
            self._commits.touch(channel)  # who comes back soon must find the counter

    def watch(self, watcher: Watcher) -> None:
        self._receptions.watch(watcher)

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
        page = await self._read(
            partial(
                self._reader.history,
                channel,
                since,
                limit,
                before=before,
                newest_first=newest_first,
                key=key,
                epoch=self._receptions.epoch(channel),
                now_ms=self._now_ms(),
            )
        )
        if page.head is not None and page.head.offset:
            self._commits.touch(channel)
        return page

    async def clear(self, channel: str) -> int:
        if self._namespaces.of(channel).ephemeral:
            return 0
        return await self._commits.ask(
            Clear(channel, self._now_ms()), partial(self._cleared, channel)
        )

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
        self._commits.sweep()

    # --- outcomes, in their order ---

    def _stored(self, channel: str, stored: Stored) -> Receipt:
        publication = stored.publication
        if publication is not None:
            position = publication.position
            assert position is not None
            if position.offset == 1:
                self._receptions.announce_birth(channel, Position(position.epoch, 0))
            self._receptions.deliver(publication)
        return stored.receipt

    def _located(self, channel: str, receiver: Receiver, located: Located) -> None:
        if not self._receptions.has(channel, receiver):  # it may have been adopted meanwhile
            self._receptions.begin(channel, receiver, located.head)
            if located.head.offset:
                self._commits.touch(channel)

    def _cleared(self, channel: str, cleared: Cleared) -> int:
        if cleared.head is not None:
            self._receptions.clear_history(channel, cleared.head)
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
            self._receptions.announce_birth(draft.channel, None)
        self._receptions.deliver(draft.at(None))
        return receipt

    # --- threads ---

    async def _read(self, work: Callable[[], T]) -> T:
        if self._commits.closed:
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

    async def _read_again(self) -> None:
        """Find out whether what could not be read last can be read by now."""
        if self._unreadable is not None:
            with contextlib.suppress(BrokerUnavailable):
                await self._read(partial(self._reader.channel, "", self._now_ms()))

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
        self._commits.close()
        self._database.close()


def _unreadable(reason: str) -> BrokerUnavailable:
    return BrokerUnavailable(f"History can't be read just now: {reason}. Try again later.")
