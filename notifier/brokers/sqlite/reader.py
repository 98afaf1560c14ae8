"""All that is read from the file without an order among what is written."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Reversible
from dataclasses import dataclass, replace
from typing import Any

from notifier.brokers.page import cut_page
from notifier.brokers.sqlite.database import Database, transaction, virgin_epoch
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.history import ChannelState, History
from notifier.notification import Position, Publication
from notifier.recovery import Extent, recover
from notifier.wire.resume import Since

_COLUMNS = "id, epoch, head, floor, floor_time_ms, publications, size, due_ms"


@dataclass(frozen=True, slots=True)
class _Log:
    """What a channel's row says of it; the columns, in their order."""

    id: int
    epoch: str
    head: int
    floor: int
    floor_time_ms: int
    publications: int
    size: int
    due_ms: int


class Reader:
    """Answers from one consistent view of the data each time.

    As many threads as it has connections may be in here at a time.

    What time has run out for is not shown, though the writer may still have to delete it.
    """

    def __init__(self, database: Database, namespaces: Namespaces) -> None:
        self._database = database
        self._namespaces = namespaces
        self._idle: list[sqlite3.Connection] = []

    def open(self, connections: int) -> None:
        """:raises sqlite3.Error:"""
        for _ in range(connections):
            connection = self._database.connect()
            self._idle.append(connection)
            connection.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """No thread may be in here any more."""
        for connection in self._idle:
            connection.close()

    def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None,
        newest_first: bool,
        key: str | None,
        epoch: str | None,
        now_ms: int,
    ) -> History:
        """As :meth:`notifier.brokers.base.Broker.history`.

        :param epoch: the one a channel without publications is to have, where it was told.
        """
        with self._view() as connection:
            log = self._log(connection, channel, now_ms)
            if log is None:
                log = _Log(0, epoch or virgin_epoch(connection), 0, 0, 0, 0, 0, 0)
            rows = _Rows(connection, channel, log, now_ms)
            extent = Extent(channel, log.epoch, log.floor, log.floor_time_ms, log.head, rows)
            recovery = recover(since, extent, now_ms=now_ms)
            publications, more = cut_page(
                rows.between(
                    recovery.after.offset,
                    extent.offset_before(before),
                    newest_first=newest_first,
                    key=key,
                ),
                limit,
            )
        return History(
            channel,
            start=recovery.after,
            head=extent.at(log.head),
            publications=publications,
            gap=recovery.gap,
            floor_time_ms=log.floor_time_ms,
            complete=recovery.after.offset == log.floor,
            more=more,
        )

    def channel(self, channel: str, now_ms: int) -> ChannelState | None:
        with self._view() as connection:
            log = self._log(connection, channel, now_ms)
            return None if log is None else _state(connection, channel, log, now_ms)

    def channels(
        self, pattern: Pattern, after: str, limit: int, *, now_ms: int
    ) -> list[ChannelState]:
        found: list[ChannelState] = []
        prefix = pattern.prefix
        with self._view() as connection:
            names = connection.execute(
                "SELECT name FROM channels WHERE name > ? AND name >= ? ORDER BY name",
                (after, prefix),
            )
            for (name,) in names:
                if len(found) == limit or not name.startswith(prefix):
                    break
                if pattern.matches(name) and not self._namespaces.of(name).ephemeral:
                    log = self._log(connection, name, now_ms)
                    assert log is not None, "it was there in the same view"
                    found.append(_state(connection, name, log, now_ms))
        return found

    @contextlib.contextmanager
    def _view(self) -> Iterator[sqlite3.Connection]:
        connection = self._idle.pop()
        try:
            with transaction(connection):
                yield connection
        finally:
            self._idle.append(connection)

    def _log(self, connection: sqlite3.Connection, channel: str, now_ms: int) -> _Log | None:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM channels WHERE name = ?", (channel,)
        ).fetchone()
        if row is None:
            return None
        log = _Log(*row)
        if log.due_ms > now_ms or not log.publications:
            return log
        return _trimmed(connection, log, self._namespaces.of(channel), now_ms)


class _Rows(Reversible[Publication]):
    """A channel's publications, read as far as they are looked at."""

    def __init__(
        self, connection: sqlite3.Connection, channel: str, log: _Log, now_ms: int
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._log = log
        self._now_ms = now_ms

    def __iter__(self) -> Iterator[Publication]:
        return self.between(0, None)

    def __reversed__(self) -> Iterator[Publication]:
        return self.between(0, None, newest_first=True)

    def between(
        self,
        after: int,
        before: int | None,
        *,
        newest_first: bool = False,
        key: str | None = None,
    ) -> Iterator[Publication]:
        """Those with an offset above ``after`` and below ``before``."""
        log = self._log
        rows = _live(
            self._connection,
            "offset, id, time_ms, body, key, expires_ms",
            log,
            self._now_ms,
            "AND offset > ? AND offset < ? AND (? IS NULL OR key = ?) "
            f"ORDER BY offset {'DESC' if newest_first else 'ASC'}",
            max(after, log.floor),
            log.head + 1 if before is None else min(before, log.head + 1),
            key,
            key,
        )
        for offset, *rest in rows:
            yield Publication(self._channel, Position(log.epoch, offset), *rest)


def _live(
    connection: sqlite3.Connection,
    columns: str,
    log: _Log,
    now_ms: int,
    more: str = "",
    *values: object,
) -> sqlite3.Cursor:
    """The channel's rows that have not expired by their own ``expires``."""
    return connection.execute(
        f"SELECT {columns} FROM publications "
        f"WHERE channel = ? AND (expires_ms IS NULL OR expires_ms > ?) {more}",
        (log.id, now_ms, *values),
    )


def _trimmed(connection: sqlite3.Connection, log: _Log, namespace: Namespace, now_ms: int) -> _Log:
    """As the writer would leave it."""
    aged_ms = now_ms - round(namespace.history_ttl * 1000)
    young = _one(
        _live(connection, "offset", log, now_ms, "AND time_ms > ? ORDER BY offset LIMIT 1", aged_ms)
    )
    if young is None:
        kept_from = log.head + 1
    else:
        latest = _one(
            _live(
                connection,
                "offset",
                log,
                now_ms,
                "ORDER BY offset DESC LIMIT 1 OFFSET ?",
                namespace.history_size - 1,
            )
        )
        kept_from = max(young[0], 0 if latest is None else latest[0])
    lost = _one(
        _live(
            connection,
            "offset, time_ms",
            log,
            now_ms,
            "AND offset < ? ORDER BY offset DESC LIMIT 1",
            kept_from,
        )
    )
    if lost is not None:
        log = replace(log, floor=lost[0], floor_time_ms=lost[1])
    count, size = _live(
        connection,
        "count(*), coalesce(sum(size), 0)",
        log,
        now_ms,
        "AND offset > ?",
        log.floor,
    ).fetchone()
    return replace(log, publications=count, size=size)


def _state(connection: sqlite3.Connection, channel: str, log: _Log, now_ms: int) -> ChannelState:
    newest = _one(
        _live(
            connection,
            "time_ms",
            log,
            now_ms,
            "AND offset > ? ORDER BY offset DESC LIMIT 1",
            log.floor,
        )
    )
    return ChannelState(
        channel,
        Position(log.epoch, log.head),
        log.publications,
        log.size,
        None if newest is None else newest[0],
    )


def _one(cursor: sqlite3.Cursor) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = cursor.fetchone()
    return row
