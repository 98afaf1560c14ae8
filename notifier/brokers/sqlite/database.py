"""The file: its lock, its schema, and connections to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from notifier.brokers.base import CannotOpen
from notifier.brokers.epochs import new_epoch

# "ntfr": tells a file of ours from another program's.
APPLICATION_ID = 0x6E746672
# Grows with every change of the tables.
SCHEMA_VERSION = 1
# How long to wait for a stranger (a backup, the sqlite3 shell) that has the file locked.
BUSY_SECONDS = 5.0
# The write-ahead log is cut back to this when it begins anew.
WAL_BYTES = 64 << 20
# How long publishing may be held up for readers to finish, so that it can begin anew.
_CUT_PATIENCE_MS = 100

_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # Written with every publication: whatever can be known of a channel without its history.
    # `due_ms`: when time changes something about it, by itself.
    """CREATE TABLE channels (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch TEXT NOT NULL,
        head INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        floor_time_ms INTEGER NOT NULL,
        publications INTEGER NOT NULL,
        size INTEGER NOT NULL,
        oldest_ms INTEGER,
        next_expiry_ms INTEGER,
        used_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL)""",
    "CREATE INDEX channels_due ON channels (due_ms)",
    "CREATE INDEX channels_used ON channels (used_ms) WHERE publications > 0",
    """CREATE TABLE publications (
        channel INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        id TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        key TEXT,
        expires_ms INTEGER,
        body BLOB NOT NULL,
        PRIMARY KEY (channel, offset)) WITHOUT ROWID""",
    """CREATE INDEX publications_expiry ON publications (channel, expires_ms)
        WHERE expires_ms IS NOT NULL""",
    # In the order of their `seq`, the oldest first.
    """CREATE TABLE keys (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        fingerprint BLOB NOT NULL,
        id TEXT NOT NULL,
        epoch TEXT NOT NULL,
        offset INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL)""",
)


class FileGone(sqlite3.OperationalError):
    """What is written would be lost with the process."""


class Database:
    """An SQLite file that this process alone uses as a broker, for as long as it lives."""

    def __init__(self, path: Path) -> None:
        # One file has one lock, whatever names lead to it.
        self.path = Path(os.path.expanduser(path)).resolve()
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> None:
        """Take the lock, and make the tables where there are none.

        :raises CannotOpen:
        """
        try:
            self._take_lock()
            with contextlib.closing(self.connect(create=True)) as connection:
                self._prepare(connection)
            self._identity = self._look()
        except CannotOpen:
            self.close()
            raise
        except sqlite3.Error as error:
            self.close()
            sentence = (
                "it is not an SQLite database"
                if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB
                else str(error)
            )
            raise self._refused(sentence) from error

    def close(self) -> None:
        """Let another process have it. Its connections must be closed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def connect(self, *, create: bool = False) -> sqlite3.Connection:
        """A connection for one thread at a time, in autocommit mode.

        :raises sqlite3.Error:
        """
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # FULL: a commit returns when the disk has it, so a power cut takes nothing back.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """:raises FileGone: the path leads to another file, or to none, by now."""
        if self._look() != self._identity:
            raise FileGone("the database file was moved or removed")

    def cut_wal(self, connection: sqlite3.Connection) -> None:
        """Where somebody always reads, the write-ahead log never begins anew by itself."""
        if self.wal_bytes <= WAL_BYTES:
            return
        connection.execute(f"PRAGMA busy_timeout = {_CUT_PATIENCE_MS}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")

    @property
    def wal_bytes(self) -> int:
        """How long the write-ahead log is."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _take_lock(self) -> None:
        parent = self.path.parent
        if not parent.is_dir():
            raise self._refused(f"there is no directory {parent}")
        if self.path.is_dir():
            raise self._refused("it is a directory")
        try:
            # A file of its own: SQLite's locks end when any descriptor of its file is closed.
            self._lock = os.open(f"{self.path}-lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refused("another process is using it") from None
        except OSError as error:
            raise self._refused(f"{error.strerror}: {error.filename or self.path}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if ours and version > SCHEMA_VERSION:
            raise self._refused(
                f"a newer notifier made it (schema {version}, this one knows {SCHEMA_VERSION})"
            )
        if not ours and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self._refused("it is the database of another program")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise self._refused(f"its journal can't be a write-ahead log, only {mode}")
        if not ours:
            with transaction(connection, writing=True):
                for table in _TABLES:
                    connection.execute(table)
                # Channels nobody ever published to share this epoch, so they cost nothing.
                connection.execute("INSERT INTO meta VALUES ('virgin_epoch', ?)", (new_epoch(),))
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _refused(self, sentence: str) -> CannotOpen:
        return CannotOpen(f"cannot use {self.path} as a broker: {sentence}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, writing: bool = False) -> Iterator[None]:
    """All of it or nothing; without ``writing``, one and the same view of the data."""
    connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have ended it already
            connection.execute("ROLLBACK")
        raise


def virgin_epoch(connection: sqlite3.Connection) -> str:
    """The epoch of channels that were never published to."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'virgin_epoch'").fetchone()
    return str(row[0])
