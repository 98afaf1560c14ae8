"""Idempotency keys on disk, and what was answered under each."""

from __future__ import annotations

import sqlite3

from notifier.brokers.base import Idempotency, Receipt
from notifier.brokers.keys import repeat
from notifier.notification import Position

# Keys forgotten in one sweep.
_STRETCH = 1000


class Answers:
    """Within a transaction of its caller's; :meth:`settle` before it ends.

    After a rollback, :meth:`restore`.
    """

    def __init__(self, connection: sqlite3.Connection, *, ttl: float, max_keys: int) -> None:
        self._connection = connection
        self._ttl_ms = round(ttl * 1000)
        self._max_keys = max_keys
        (self.count,) = connection.execute("SELECT count(*) FROM keys").fetchone()

    def first(self, idempotency: Idempotency, now_ms: int) -> Receipt | None:
        """What the key's first use was answered; ``None``: this is the first.

        :raises IdempotencyConflict:
        """
        row = self._connection.execute(
            "SELECT fingerprint, id, epoch, offset, expires_ms FROM keys WHERE key = ?",
            (idempotency.key,),
        ).fetchone()
        if row is None:
            return None
        fingerprint, id, epoch, offset, expires_ms = row
        if expires_ms <= now_ms:
            self._connection.execute("DELETE FROM keys WHERE key = ?", (idempotency.key,))
            self.count -= 1
            return None
        return repeat(idempotency, fingerprint, Receipt(id, Position(epoch, offset)))

    def remember(self, idempotency: Idempotency, receipt: Receipt, now_ms: int) -> None:
        assert receipt.position is not None, "ephemeral channels are not written"
        self._connection.execute(
            "INSERT INTO keys (key, fingerprint, id, epoch, offset, expires_ms) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                idempotency.key,
                idempotency.fingerprint,
                receipt.id,
                receipt.position.epoch,
                receipt.position.offset,
                now_ms + self._ttl_ms,
            ),
        )
        self.count += 1

    def settle(self) -> None:
        """Forget the oldest, where there are too many."""
        excess = self.count - self._max_keys
        if excess > 0:
            self._connection.execute(
                "DELETE FROM keys WHERE seq IN (SELECT seq FROM keys ORDER BY seq LIMIT ?)",
                (excess,),
            )
            self.count -= excess

    def restore(self, count: int) -> None:
        """The transaction was rolled back: be as before it."""
        self.count = count

    def expired(self, now_ms: int) -> bool:
        """Whether the oldest one's time is over."""
        row = self._connection.execute(
            "SELECT expires_ms FROM keys ORDER BY seq LIMIT 1"
        ).fetchone()
        return row is not None and bool(row[0] <= now_ms)

    def sweep(self, now_ms: int) -> None:
        """Let go of those whose time is over; a bounded number of them."""
        rows = self._connection.execute(
            "SELECT seq, expires_ms FROM keys ORDER BY seq LIMIT ?", (_STRETCH,)
        ).fetchall()
        kept = next((n for n, (_, expires_ms) in enumerate(rows) if expires_ms > now_ms), len(rows))
        if kept:
            self._connection.execute("DELETE FROM keys WHERE seq <= ?", (rows[kept - 1][0],))
            self.count -= kept
