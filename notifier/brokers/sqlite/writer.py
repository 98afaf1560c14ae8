"""All that changes the file, one transaction at a time."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from notifier import logs
from notifier.brokers.base import Idempotency, Receipt
from notifier.brokers.sqlite.answers import Answers
from notifier.brokers.sqlite.database import Database, transaction
from notifier.brokers.sqlite.logs import Logs
from notifier.channels import Namespaces
from notifier.errors import BrokerUnavailable, InternalError, NotifierError
from notifier.notification import Draft, Position, Publication

# Channels looked at in one sweep.
SWEEP_LOGS = 200
# When a channel was read last is written after this at the latest.
TOUCH_MS = 60_000

_log = logging.getLogger("notifier.brokers.sqlite")


@dataclass(frozen=True, slots=True)
class Publish:
    """Store a draft. Answered with :class:`Stored`."""

    draft: Draft
    idempotency: Idempotency | None
    now_ms: int

    @property
    def channel(self) -> str:
        return self.draft.channel


@dataclass(frozen=True, slots=True)
class Locate:
    """Where the channel's log ends. Answered with :class:`Located`."""

    channel: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Clear:
    """Delete the channel's history. Answered with :class:`Cleared`."""

    channel: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Stored:
    """``publication`` is ``None`` when it was stored before, under the same key."""

    receipt: Receipt
    publication: Publication | None


@dataclass(frozen=True, slots=True)
class Located:
    head: Position


@dataclass(frozen=True, slots=True)
class Cleared:
    """``head`` is ``None`` when there is no such channel."""

    count: int
    head: Position | None


Order = Publish | Locate | Clear
Outcome = Stored | Located | Cleared | NotifierError


class Writer:
    """Carries out orders. Its caller sees to it that only one thread is in here at a time.

    :ivar trouble: why the last attempt to write failed; ``None`` when it did not.
    :ivar failed_bytes: what that attempt wanted to write.
    """

    def __init__(
        self,
        database: Database,
        namespaces: Namespaces,
        *,
        history_bytes: int,
        max_channels: int,
        idempotency_ttl: float,
        max_idempotency_keys: int,
    ) -> None:
        self.trouble: str | None = None
        self.connection = database.connect()
        self._database = database
        try:
            self._logs = Logs(
                self.connection,
                namespaces,
                history_bytes=history_bytes,
                max_channels=max_channels,
            )
            self._answers = Answers(
                self.connection, ttl=idempotency_ttl, max_keys=max_idempotency_keys
            )
        except sqlite3.Error:
            self.connection.close()
            raise
        self._doubtful = True
        self._touched_ms: int | None = None
        self._failed_bytes = 1

    @property
    def size(self) -> int:
        """Bytes of history held, over all channels."""
        return self._logs.totals.size

    def close(self) -> None:
        self.connection.close()

    def touch(self, used: dict[str, int], now_ms: int) -> None:
        """Channels that were read or listened to, and when. Written when it matters."""
        if used and self._touched_ms is None:
            self._touched_ms = now_ms
        self._logs.touch(used)

    def carry_out(self, orders: Sequence[Order], epochs: Mapping[str, str]) -> list[Outcome]:
        """All of them in one transaction, in their order; then they are on the disk.

        :param epochs: of channels that somebody follows, as it was told.
        """
        writing = any(not isinstance(order, Locate) for order in orders)
        try:
            with self._transaction(writing=writing):
                outcomes = [self._carry_out(order, epochs) for order in orders]
                self._logs.settle(orders[-1].now_ms)
                self._answers.settle()
        except (sqlite3.Error, OSError) as error:
            if not _is_the_disk(error):
                return self._one_by_one(orders, epochs, error)
            self._failed(error, sum(_size(order) for order in orders))
            return [self._without_writing(order, epochs) for order in orders]
        except Exception as error:  # noqa: BLE001
            return self._one_by_one(orders, epochs, error)
        if writing:
            self.trouble = None
        return outcomes

    def probe(self) -> None:
        """Find out whether as much as could not be written last can be written by now."""
        try:
            # Committed before it is deleted, or it would never get to the disk.
            with self._transaction(writing=True):
                self.connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))",
                    (self._failed_bytes,),
                )
            with self._transaction(writing=True):
                self.connection.execute("DELETE FROM meta WHERE name = 'probe'")
        except sqlite3.Error as error:
            self._failed(error, self._failed_bytes)
        else:
            self.trouble = None

    def due(self, now_ms: int) -> list[str] | None:
        """Channels to sweep; ``None``: there is nothing to do."""
        try:
            self._database.cut_wal(self.connection)
            names = self._logs.due(now_ms, SWEEP_LOGS)
            touched = self._touched_ms is not None and now_ms - self._touched_ms >= TOUCH_MS
            return names if names or touched or self._answers.expired(now_ms) else None
        except sqlite3.Error as error:
            self._failed(error, 1)
            return None

    def sweep(self, channels: Sequence[str], followed: Collection[str], now_ms: int) -> None:
        """Let go of what time has run out for. Who is ``followed`` keeps its counter."""
        try:
            with self._transaction(writing=True):
                self._logs.sweep(channels, followed, now_ms)
                self._answers.sweep(now_ms)
        except sqlite3.Error as error:
            self._failed(error, 1)
        else:
            self._touched_ms = None
            self.trouble = None

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[None]:
        totals, count = self._logs.totals, self._answers.count
        try:
            if writing:
                self._database.check()
            with transaction(self.connection, writing=writing):
                if writing and self._doubtful:
                    self._logs.doubt()
                yield
        except BaseException:
            self._logs.restore(totals)
            self._answers.restore(count)
            raise
        if writing:
            self._doubtful = False

    def _carry_out(self, order: Order, epochs: Mapping[str, str]) -> Outcome:
        try:
            match order:
                case Publish():
                    return self._publish(order, epochs.get(order.channel))
                case Locate(channel):
                    return Located(self._logs.head(channel, epochs.get(channel)))
                case Clear(channel, now_ms):
                    return Cleared(*self._logs.clear(channel, now_ms))
        except NotifierError as refusal:
            return refusal

    def _publish(self, order: Publish, epoch: str | None) -> Stored:
        if order.idempotency is not None:
            first = self._answers.first(order.idempotency, order.now_ms)
            if first is not None:
                return Stored(first, None)
        publication = self._logs.append(order.draft, order.now_ms, epoch)
        receipt = Receipt(publication.id, publication.position)
        if order.idempotency is not None:
            self._answers.remember(order.idempotency, receipt, order.now_ms)
        return Stored(receipt, publication)

    def _without_writing(self, order: Order, epochs: Mapping[str, str]) -> Outcome:
        """What can be done while the disk takes nothing."""
        if isinstance(order, Locate):
            try:
                return self._carry_out(order, epochs)
            except sqlite3.Error as error:
                self._failed(error, 1)
            finally:
                self._logs.restore(self._logs.totals)
        return unavailable(self.trouble)

    def _one_by_one(
        self, orders: Sequence[Order], epochs: Mapping[str, str], error: Exception
    ) -> list[Outcome]:
        """One of them can't be carried out, by our fault; the others must not suffer from it."""
        if len(orders) > 1:
            return [self.carry_out([order], epochs)[0] for order in orders]
        logs.event(_log, logging.ERROR, "broker.order_failed", exc_info=error)
        return [InternalError("The broker failed at this by a fault of its own.")]

    def _failed(self, error: Exception, size: int) -> None:
        self.trouble = str(error)
        # A full disk often takes a little more: what matters is room for what is published.
        self._failed_bytes = min(max(size, 1), 1 << 20)


def unavailable(reason: str | None) -> BrokerUnavailable:
    return BrokerUnavailable(
        f"History can't be written just now: {reason}. Nothing is known to be stored: try again, "
        "with the same Idempotency-Key."
    )


def _size(order: Order) -> int:
    return len(order.draft.body) if isinstance(order, Publish) else 0


def _is_the_disk(error: Exception) -> bool:
    """Whether it is the file's or the disk's fault, and not that of one order."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
