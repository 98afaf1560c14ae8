"""The channels' logs on disk: appended to, trimmed, cleared, forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any

from notifier.brokers.base import too_many_channels
from notifier.brokers.epochs import counter_ms, new_epoch
from notifier.brokers.sqlite.database import virgin_epoch
from notifier.channels import Namespaces
from notifier.notification import Draft, Position, Publication

# Rows looked at at once when the oldest go.
_STRETCH = 64


@dataclass(slots=True)
class Log:
    """One channel's row. Its fields are the columns, in their order.

    :ivar floor: offset of the newest publication that was trimmed or cleared; 0: none.
    :ivar oldest_ms: when the oldest one that is kept was published.
    :ivar next_expiry_ms: none of them expires by its own ``expires`` before that.
    """

    id: int
    name: str
    epoch: str
    head: int
    floor: int
    floor_time_ms: int
    publications: int
    size: int
    oldest_ms: int | None
    next_expiry_ms: int | None
    used_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all channels, and what a rollback must bring back."""

    channels: int
    size: int
    virgin_epoch: str


class Logs:
    """Within a transaction of its caller's; :meth:`settle` before it ends.

    Nothing of what was appended is in the tables before. After a rollback, :meth:`restore`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        namespaces: Namespaces,
        *,
        history_bytes: int,
        max_channels: int,
    ) -> None:
        self._connection = connection
        self._namespaces = namespaces
        self._history_bytes = history_bytes
        self._max_channels = max_channels
        channels, size = self._row("SELECT count(*), coalesce(sum(size), 0) FROM channels")
        self.totals = Totals(channels, size, virgin_epoch(connection))
        self._logs: dict[str, Log] = {}
        self._changed: dict[str, Log] = {}
        self._appended: list[tuple[object, ...]] = []
        self._touched: dict[str, int] = {}
        self._touching: dict[str, int] = {}

    # --- use ---

    def head(self, channel: str, epoch: str | None) -> Position:
        """The newest position; ``epoch`` is the one a channel without publications is to have."""
        log = self._log(channel)
        if log is None:
            return Position(epoch or self.totals.virgin_epoch, 0)
        return Position(log.epoch, log.head)

    def append(self, draft: Draft, now_ms: int, epoch: str | None) -> Publication:
        """:raises TooManyChannels: and nothing has changed."""
        log = self._log(draft.channel) or self._new_log(draft.channel, now_ms, epoch)
        log.head += 1
        publication = draft.at(Position(log.epoch, log.head))
        self._appended.append(
            (
                log.id,
                log.head,
                draft.id,
                draft.time_ms,
                publication.size,
                draft.key,
                draft.expires_ms,
                draft.body,
            )
        )
        self._count(log, 1, publication.size)
        if log.oldest_ms is None:
            log.oldest_ms = draft.time_ms
        if draft.expires_ms is not None:
            log.next_expiry_ms = min(log.next_expiry_ms or draft.expires_ms, draft.expires_ms)
        log.used_ms = now_ms
        self._changed[log.name] = log
        return publication

    def clear(self, channel: str, now_ms: int) -> tuple[int, Position | None]:
        """Delete the history; how many publications that were, and the head if there is one."""
        self._insert_appended()
        log = self._log(channel)
        if log is None:
            return 0, None
        self._trim(log, now_ms)
        count = log.publications
        self._drop_oldest(log, lambda time_ms: True)
        return count, Position(log.epoch, log.head)

    def touch(self, used: dict[str, int]) -> None:
        """Channels that were read or listened to, and when."""
        self._touched |= used

    def settle(self, now_ms: int) -> None:
        """Write what was appended, and keep every bound."""
        self._insert_appended()
        for log in self._changed.values():
            self._trim(log, now_ms)
        self._save()
        if self.totals.size > self._history_bytes:
            self.settle_touched()
        while self.totals.size > self._history_bytes:
            (name,) = self._row(
                "SELECT name FROM channels WHERE publications > 0 ORDER BY used_ms, id LIMIT 1"
            )
            oldest = self._log(name)
            assert oldest is not None, "it has just been read"
            self._drop_oldest(oldest, lambda time_ms: self.totals.size > self._history_bytes)
            self._save()
        self._logs.clear()

    def restore(self, totals: Totals) -> None:
        """The transaction was rolled back: be as before it."""
        self.totals = totals
        self._logs.clear()
        self._changed.clear()
        self._appended.clear()
        self._touched = self._touching | self._touched

    # --- time ---

    def due(self, now_ms: int, limit: int) -> list[str]:
        """Channels that time has changed something about."""
        rows = self._connection.execute(
            "SELECT name FROM channels WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", (now_ms, limit)
        )
        return [name for (name,) in rows]

    def doubt(self) -> None:
        """Have every channel looked at: other settings may hold for it than when it was written."""
        self._connection.execute("UPDATE channels SET due_ms = 0 WHERE publications > 0")

    def sweep(self, channels: Iterable[str], followed: Collection[str], now_ms: int) -> None:
        """Let go of what time has run out for; who is ``followed`` keeps its counter."""
        self.settle_touched()
        for name in channels:
            log = self._log(name)
            if log is None:
                continue
            self._trim(log, now_ms)
            if not log.publications and self._forgotten_ms(log) <= now_ms:
                if name not in followed:
                    self._forget(log)
                    continue
                log.used_ms = now_ms
            self._changed[name] = log
        self._save()
        self._logs.clear()

    def settle_touched(self) -> None:
        """Write who was used when. No log may be changed and unsaved."""
        self._touching, self._touched = self._touched, {}
        self._connection.executemany(
            "UPDATE channels SET used_ms = max(used_ms, ?) WHERE name = ?",
            [(used_ms, name) for name, used_ms in self._touching.items()],
        )

    # --- one log ---

    def _log(self, channel: str) -> Log | None:
        log = self._logs.get(channel)
        if log is None:
            row = self._connection.execute(
                "SELECT * FROM channels WHERE name = ?", (channel,)
            ).fetchone()
            if row is None:
                return None
            log = self._logs[channel] = Log(*row)
        return log

    def _new_log(self, channel: str, now_ms: int, epoch: str | None) -> Log:
        if self.totals.channels >= self._max_channels:
            raise too_many_channels(self._max_channels)
        log = Log(
            id=0,
            name=channel,
            epoch=epoch or self.totals.virgin_epoch,
            head=0,
            floor=0,
            floor_time_ms=0,
            publications=0,
            size=0,
            oldest_ms=None,
            next_expiry_ms=None,
            used_ms=now_ms,
            due_ms=0,
        )
        columns = astuple(log)
        marks = ", ".join("?" * len(columns))
        added = self._connection.execute(
            f"INSERT INTO channels VALUES ({marks})", (None, *columns[1:])
        )
        assert added.lastrowid is not None
        log.id = added.lastrowid
        self.totals = replace(self.totals, channels=self.totals.channels + 1)
        self._logs[channel] = log
        return log

    def _insert_appended(self) -> None:
        self._connection.executemany(
            "INSERT INTO publications (channel, offset, id, time_ms, size, key, expires_ms, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            self._appended,
        )
        self._appended.clear()

    def _count(self, log: Log, publications: int, size: int) -> None:
        log.publications += publications
        log.size += size
        self.totals = replace(self.totals, size=self.totals.size + size)
        self._changed[log.name] = log

    def _trim(self, log: Log, now_ms: int) -> None:
        # Before the rest: trimmed, what had expired anyway would count as lost.
        self._drop_expired(log, now_ms)
        namespace = self._namespaces.of(log.name)
        oldest_ms = now_ms - round(namespace.history_ttl * 1000)
        if log.publications > namespace.history_size or (
            log.oldest_ms is not None and log.oldest_ms <= oldest_ms
        ):
            self._drop_oldest(
                log,
                lambda time_ms: log.publications > namespace.history_size or time_ms <= oldest_ms,
            )

    def _drop_oldest(self, log: Log, goes: Callable[[int], bool]) -> None:
        """Trim for as long as the oldest, published then, ``goes``."""
        while log.publications:
            rows = self._connection.execute(
                "SELECT offset, time_ms, size FROM publications WHERE channel = ? "
                "ORDER BY offset LIMIT ?",
                (log.id, _STRETCH),
            ).fetchall()
            kept = next((n for n, row in enumerate(rows) if not self._goes(log, row, goes)), None)
            if kept != 0:
                self._connection.execute(
                    "DELETE FROM publications WHERE channel = ? AND offset <= ?",
                    (log.id, log.floor),
                )
            if kept is not None:
                log.oldest_ms = rows[kept][1]
                return
        log.oldest_ms = log.next_expiry_ms = None

    def _goes(self, log: Log, row: tuple[int, int, int], goes: Callable[[int], bool]) -> bool:
        offset, time_ms, size = row
        if not goes(time_ms):
            return False
        log.floor, log.floor_time_ms = offset, time_ms
        self._count(log, -1, -size)
        return True

    def _drop_expired(self, log: Log, now_ms: int) -> None:
        """Remove what expired by its own ``expires``: a hole, not a loss."""
        if log.next_expiry_ms is None or log.next_expiry_ms > now_ms:
            return
        expired = "FROM publications WHERE channel = ? AND expires_ms <= ?"
        count, size = self._row(
            f"SELECT count(*), coalesce(sum(size), 0) {expired}", log.id, now_ms
        )
        self._connection.execute(f"DELETE {expired}", (log.id, now_ms))
        self._count(log, -count, -size)
        (log.next_expiry_ms,) = self._row(
            "SELECT min(expires_ms) FROM publications WHERE channel = ? AND expires_ms IS NOT NULL",
            log.id,
        )
        oldest = self._connection.execute(
            "SELECT time_ms FROM publications WHERE channel = ? ORDER BY offset LIMIT 1", (log.id,)
        ).fetchone()
        log.oldest_ms = None if oldest is None else oldest[0]

    def _forgotten_ms(self, log: Log) -> int:
        """When the counter of a log without publications has been kept for long enough."""
        return log.used_ms + counter_ms(self._namespaces.of(log.name)) + 1

    def _due_ms(self, log: Log) -> int:
        if log.oldest_ms is None:
            return self._forgotten_ms(log)
        aged_ms = log.oldest_ms + round(self._namespaces.of(log.name).history_ttl * 1000)
        return aged_ms if log.next_expiry_ms is None else min(aged_ms, log.next_expiry_ms)

    def _forget(self, log: Log) -> None:
        self._connection.execute("DELETE FROM channels WHERE id = ?", (log.id,))
        self._changed.pop(log.name, None)
        self._logs.pop(log.name, None)
        self.totals = replace(self.totals, channels=self.totals.channels - 1)
        if log.epoch == self.totals.virgin_epoch:
            # Its offsets begin anew: whoever still has one must be able to tell.
            epoch = new_epoch()
            self._connection.execute(
                "UPDATE meta SET value = ? WHERE name = 'virgin_epoch'", (epoch,)
            )
            self.totals = replace(self.totals, virgin_epoch=epoch)

    def _save(self) -> None:
        for log in self._changed.values():
            log.due_ms = self._due_ms(log)
        self._connection.executemany(
            "UPDATE channels SET head = ?, floor = ?, floor_time_ms = ?, publications = ?, "
            "size = ?, oldest_ms = ?, next_expiry_ms = ?, used_ms = ?, due_ms = ? WHERE id = ?",
            [(*astuple(log)[3:], log.id) for log in self._changed.values()],
        )
        self._changed.clear()

    def _row(self, statement: str, *values: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(statement, values).fetchone()
        return row
