from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from notifier.brokers.base import CannotOpen, Receipt
from notifier.brokers.sqlite import broker as broker_module
from notifier.brokers.sqlite import database as database_module
from notifier.brokers.sqlite import groupcommit as groupcommit_module
from notifier.brokers.sqlite import writer as writer_module
from notifier.brokers.sqlite.broker import SqliteBroker
from notifier.brokers.sqlite.writer import Writer
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import BrokerUnavailable, InternalError
from notifier.notification import Position, Publication
from notifier.wire.resume import After, All
from tests.brokers.bounds_contract import (
    COUNTER_MS,
    HOUR_MS,
    KEY_TTL_MS,
    NAMESPACES,
    ONE,
    SIZE,
    Bench,
    Bounds,
)
from tests.brokers.contract import (
    PATIENCE_SECONDS,
    Clock,
    Contract,
    Listener,
    Midwife,
    any_use,
    offsets_of,
    place,
)


class Scratch:
    """Where brokers that are made by nothing but :func:`make_sqlite` have their files."""

    files: Iterator[Path]


@pytest.fixture(scope="module", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("scratch")
    Scratch.files = (directory / f"{n}.db" for n in itertools.count())


def make_sqlite(
    namespaces: Namespaces,
    *,
    idempotency_ttl: float,
    now_ms: Callable[[], int],
    path: Path | None = None,
    history_bytes: int = 2**30,
    max_channels: int = 1000,
    max_keys: int = 1000,
    max_unwritten_bytes: int = 2**24,
) -> SqliteBroker:
    return SqliteBroker(
        path or next(Scratch.files),
        namespaces,
        history_bytes=history_bytes,
        max_channels=max_channels,
        idempotency_ttl=idempotency_ttl,
        max_idempotency_keys=max_keys,
        max_unwritten_bytes=max_unwritten_bytes,
        now_ms=now_ms,
    )


class TestContract(Contract):
    make = staticmethod(make_sqlite)


TestAnyUse = any_use(make_sqlite)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread brings about."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class SqliteBench(Bench):
    """An SQLite broker, its file and its clock."""

    def __init__(self, broker: SqliteBroker, clock: Clock, path: Path) -> None:
        super().__init__(broker, clock)
        self.path = path

    @property
    def writer(self) -> Writer:
        writer = self.broker._commits._writer
        assert isinstance(writer, Writer)
        return writer

    @property
    def size(self) -> int:
        return self.writer.size

    def publications(self) -> int:
        return len(self.rows("SELECT offset FROM publications"))

    def channels(self) -> int:
        return len(self.rows("SELECT id FROM channels"))

    def keys(self) -> int:
        count = len(self.rows("SELECT key FROM keys"))
        assert count == self.writer._answers.count
        return count

    async def sweep(self) -> None:
        """Once, to the end."""
        self.broker.sweep()
        broker, commits = self.broker, self.broker._commits
        await until(
            lambda: not commits._sweep_wanted and commits._asked is None and not broker._reads
        )

    def rows(self, statement: str) -> list[Any]:
        """What is in the file, as a stranger sees it."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement).fetchall()

    def count_commits(self) -> Commits:
        commits = Commits()
        self.writer.connection.set_trace_callback(commits)
        return commits


class Commits:
    """How many there were; and they can be made to wait, as on a disk that hangs."""

    def __init__(self) -> None:
        self.count = 0
        self.let = threading.Event()
        self.let.set()

    def __call__(self, statement: str) -> None:
        if statement == "COMMIT":
            self.count += 1
            self.let.wait(10)


@asynccontextmanager
async def opened(
    path: Path | None = None,
    clock: Clock | None = None,
    namespaces: Namespaces = NAMESPACES,
    **limits: int,
) -> AsyncIterator[SqliteBench]:
    path, clock = path or next(Scratch.files), clock or Clock()
    broker = make_sqlite(
        namespaces, idempotency_ttl=KEY_TTL_MS / 1000, now_ms=clock, path=path, **limits
    )
    await broker.open()
    try:
        yield SqliteBench(broker, clock, path)
    finally:
        await broker.close()


class TestBounds(Bounds):
    opened = staticmethod(opened)


# --- restarts ---


async def test_restart_changes_nothing(tmp_path: Path) -> None:
    path, clock = tmp_path / "n.db", Clock()
    async with opened(path, clock) as bench:
        places = [place(await bench.publish(key=f"k{n}")) for n in range(SIZE + 3)]
        await bench.publish("b", expires_in_ms=1000)
        pages = [await bench.broker.history(name, All(), 100) for name in ("a", "b", "never")]
        states = list(await bench.broker.channels(Pattern.parse("*"), "", 10))
        first = Receipt("n1", places[0], repeated=True)
    async with opened(path, clock) as bench:
        again = [await bench.broker.history(name, All(), 100) for name in ("a", "b", "never")]
        assert again == pages
        assert list(await bench.broker.channels(Pattern.parse("*"), "", 10)) == states
        assert await bench.publish(key="k0") == first
        assert (await bench.broker.history("a", After(places[-1]), 10)).gap is None
        assert (await bench.broker.history("a", After(places[0]), 10)).gap is not None
        assert place(await bench.publish()).offset == SIZE + 4
        assert not (await bench.publish(key="new")).repeated


async def test_head_told_before_the_first_publication_holds_after_a_restart(
    tmp_path: Path,
) -> None:
    listener = Listener()
    async with opened(tmp_path / "n.db") as bench:
        await bench.broker.subscribe("a", listener)
        (head,) = listener.heard
        assert isinstance(head, Position)
    async with opened(tmp_path / "n.db") as bench:
        assert place(await bench.publish()) == Position(head.epoch, 1)
        page = await bench.broker.history("a", After(head), 10)
        assert (page.gap, offsets_of(page.publications)) == (None, [1])


async def test_channel_that_was_born_before_the_restart_is_not_born_again(tmp_path: Path) -> None:
    midwife = Midwife()
    async with opened(tmp_path / "n.db") as bench:
        await bench.publish()
    async with opened(tmp_path / "n.db") as bench:
        bench.broker.watch(midwife)
        await bench.publish()
        await bench.publish("b")
    assert [channel for channel, _ in midwife.births] == ["b"]


async def test_what_waits_is_written_before_the_broker_closes(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db") as bench:
        waiting = [asyncio.create_task(bench.publish("long:a")) for _ in range(2000)]
        await asyncio.sleep(0)
    receipts = await asyncio.gather(*waiting)
    assert [place(receipt).offset for receipt in receipts] == list(range(1, 2001))
    async with opened(tmp_path / "n.db") as bench:
        state = await bench.broker.channel("long:a")
        assert state is not None and state.publications == 2000
    with pytest.raises(BrokerUnavailable):
        await bench.publish()
    with pytest.raises(BrokerUnavailable):
        await bench.offsets()


async def test_other_settings_hold_from_the_start(tmp_path: Path) -> None:
    path, clock = tmp_path / "n.db", Clock()
    async with opened(path, clock) as bench:
        for _ in range(SIZE):
            await bench.publish()
        await bench.publish("b")
        clock.ms += 1000
        await bench.publish("b")
    fewer = Namespaces(Namespace(history_size=3, history_ttl=1.0), {"b": Namespace(history_size=0)})
    async with opened(path, clock, fewer) as bench:
        assert await bench.offsets("b") == [2]
        assert await bench.offsets("a") == []
        state = await bench.broker.channel("a")
        assert state is not None and (state.publications, state.size) == (0, 0)
    async with opened(path, clock, Namespaces(Namespace(history_size=3))) as bench:
        assert await bench.offsets("a") == [8, 9, 10]
        await bench.sweep()
        assert bench.rows("SELECT count(*) FROM publications WHERE offset < 8") == [(2,)]


async def test_channel_of_a_namespace_that_became_ephemeral_is_not_shown(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "n.db", clock, Namespaces()) as bench:
        await bench.publish("live:a")
        assert await bench.names() == ["live:a"]
    async with opened(tmp_path / "n.db", clock) as bench:
        assert await bench.names() == []
        assert await bench.broker.channel("live:a") is None
        assert (await bench.broker.history("live:a", All(), 10)).head is None
        await bench.sweep()
        assert bench.writer.size == 0


async def test_bytes_are_counted_anew_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db", history_bytes=6 * ONE) as bench:
        for n in range(6):
            await bench.publish(f"c{n}")
    async with opened(tmp_path / "n.db", history_bytes=6 * ONE) as bench:
        assert bench.writer.size == 6 * ONE
        await bench.publish("c5")
        assert await bench.offsets("c0") == []


async def test_forgotten_position_is_a_gap_in_the_new_epoch_also_after_a_restart(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with opened(tmp_path / "n.db", clock) as bench:
        first = place(await bench.publish())
        clock.ms += 2 * COUNTER_MS
        await bench.sweep()
    async with opened(tmp_path / "n.db", clock) as bench:
        page = await bench.broker.history("a", After(first), 10)
        assert page.gap is not None
        assert page.gap.after == first
        again = place(await bench.publish())
        assert again.offset == 1
        assert again.epoch != first.epoch


async def test_ephemeral_channels_are_not_written() -> None:
    async with opened() as bench:
        before = bench.rows("SELECT * FROM meta")
        await bench.publish("live:a", key="k")
        for table in ("channels", "publications", "keys"):
            assert bench.rows(f"SELECT * FROM {table}") == []
        assert bench.rows("SELECT * FROM meta") == before


# --- crashes ---


def wal_of(path: Path) -> bytes:
    return Path(f"{path}-wal").read_bytes()


async def test_any_end_of_the_write_ahead_log_may_be_missing(tmp_path: Path) -> None:
    rng = random.Random(1)
    async with opened() as bench:
        for n in range(40):
            await bench.publish("long:a", size=rng.randrange(3000), key=f"k{n}")
        wal = wal_of(bench.path)
        copies = [(n, rng.randrange(len(wal) + 1)) for n in range(20)]
        copies += [(20, 0), (21, len(wal))]
        for n, size in copies:
            shutil.copy(bench.path, tmp_path / f"{n}.db")
            (tmp_path / f"{n}.db-wal").write_bytes(wal[:size])
    counts = set()
    for n, _ in copies:
        async with opened(tmp_path / f"{n}.db") as torn:
            page = await torn.broker.history("long:a", All(), 1000)
            count = len(page.publications)
            assert page.head is not None and page.head.offset == count
            assert offsets_of(page.publications) == list(range(1, count + 1))
            assert torn.rows("SELECT count(*) FROM keys") == [(count,)]
            assert place(await torn.publish("long:a")).offset == count + 1
            counts.add(count)
    assert {0, 40} < counts


async def test_log_whose_end_is_garbage_is_read_up_to_there(tmp_path: Path) -> None:
    async with opened() as bench:
        for _ in range(20):
            await bench.publish("long:a", size=500)
        wal = bytearray(wal_of(bench.path))
        shutil.copy(bench.path, tmp_path / "n.db")
    middle = len(wal) * 3 // 4
    wal[middle:] = random.Random(2).randbytes(len(wal) - middle)
    (tmp_path / "n.db-wal").write_bytes(wal)
    async with opened(tmp_path / "n.db") as torn:
        offsets = await torn.offsets("long:a")
        assert 0 < len(offsets) < 20
        assert offsets == list(range(1, len(offsets) + 1))


# --- durability ---


async def test_commits_are_on_the_disk_when_they_return() -> None:
    async with opened() as bench:
        assert bench.writer.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert bench.writer.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_publications_at_once_share_a_commit() -> None:
    async with opened() as bench:
        commits = bench.count_commits()
        await asyncio.gather(*(bench.publish(f"c{n % 7}", key=f"k{n}") for n in range(200)))
        assert commits.count == 1
        await bench.publish()
        assert commits.count == 2


async def test_what_comes_during_a_commit_goes_into_the_next() -> None:
    async with opened() as bench:
        commits = bench.count_commits()
        commits.let.clear()
        first = asyncio.create_task(bench.publish())
        await until(lambda: commits.count == 1)
        others = [asyncio.create_task(bench.publish()) for _ in range(100)]
        await asyncio.sleep(0.05)
        assert not first.done()
        commits.let.set()
        assert place(await first).offset == 1
        receipts = await asyncio.gather(*others)
        assert [place(receipt).offset for receipt in receipts] == list(range(2, 102))
        assert commits.count == 2


async def test_nothing_is_told_before_it_is_committed() -> None:
    async with opened() as bench:
        stored: list[tuple[int, int]] = []

        class Checker(Listener):
            def publication(self, publication: Publication) -> None:
                super().publication(publication)
                (count,) = bench.rows("SELECT count(*) FROM publications")[0]
                stored.append((len(self.ids), count))

        await bench.broker.subscribe("long:a", Checker())
        await asyncio.gather(*(bench.publish("long:a") for _ in range(20)))
        assert len(stored) == 20
        assert all(heard <= count for heard, count in stored)


async def test_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groupcommit_module, "TRANSACTION_ORDERS", 10)
    async with opened() as bench:
        commits = bench.count_commits()
        await asyncio.gather(*(bench.publish("long:a") for _ in range(95)))
        assert commits.count == 10


# --- a disk that fails ---


async def check_refused_and_healed(bench: Bench, break_it: Any, mend_it: Any, reason: str) -> None:
    """Nothing is stored while it is broken; what can be done without writing is done."""
    first = await bench.publish(key="k1")
    break_it()
    listener, other = Listener(), Listener()
    await bench.broker.subscribe("a", listener)
    for _ in range(2):
        results = await asyncio.gather(
            *(bench.publish(size=20_000, key=f"lost{n}") for n in range(5)),
            bench.broker.subscribe("b", other),
            bench.broker.clear("a"),
            return_exceptions=True,
        )
        assert [type(r) for r in results if r is not None] == [BrokerUnavailable] * 6
        assert reason in str(results[0])
    assert reason in (bench.broker.trouble or "")
    await bench.sweep()
    assert reason in (bench.broker.trouble or "")
    assert await bench.offsets() == [1]
    assert await bench.names() == ["a"]
    mend_it()
    await bench.sweep()
    assert bench.broker.trouble is None
    assert await bench.publish(key="k1") == Receipt(first.id, first.position, repeated=True)
    again = [await bench.publish(size=20_000, key=f"lost{n}") for n in range(5)]
    assert [place(receipt).offset for receipt in again] == [2, 3, 4, 5, 6]
    assert listener.ids == [receipt.id for receipt in again]
    assert [type(item) for item in other.heard] == [Position]
    assert bench.writer.size == sum(row[0] for row in bench.rows("SELECT size FROM publications"))
    assert bench.rows("SELECT count(*) FROM meta") == [(1,)]


async def test_full_disk_refuses_and_heals() -> None:
    async with opened() as bench:
        connection = bench.writer.connection

        def fill() -> None:
            # No page more: a full disk to SQLite (SQLITE_FULL).
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")

        def free() -> None:
            connection.execute("PRAGMA max_page_count = 1000000")

        await check_refused_and_healed(bench, fill, free, "database or disk is full")


async def test_file_that_became_read_only_refuses_and_heals() -> None:
    async with opened() as bench:
        connection = bench.writer.connection
        await check_refused_and_healed(
            bench,
            lambda: connection.execute("PRAGMA query_only = ON"),
            lambda: connection.execute("PRAGMA query_only = OFF"),
            "attempt to write a readonly database",
        )


async def test_file_that_was_moved_away_refuses_and_heals() -> None:
    async with opened() as bench:
        away = bench.path.with_suffix(".away")
        await check_refused_and_healed(
            bench,
            lambda: bench.path.rename(away),
            lambda: away.rename(bench.path),
            "the database file was moved or removed",
        )


async def test_file_that_a_stranger_has_locked_refuses_and_heals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    async with opened() as bench:
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as stranger:
            await check_refused_and_healed(
                bench,
                lambda: stranger.execute("BEGIN IMMEDIATE"),
                lambda: stranger.execute("COMMIT"),
                "database is locked",
            )


async def test_totals_are_as_they_were_after_a_failure() -> None:
    async with opened(max_channels=2) as bench:
        await bench.publish("a", key="k")
        before = (bench.writer.size, bench.writer._logs.totals, bench.writer._answers.count)
        bench.writer.connection.execute("PRAGMA query_only = ON")
        for n in range(5):
            with pytest.raises(BrokerUnavailable):
                await bench.publish(f"c{n}", key=f"k{n}")
        assert before == (
            bench.writer.size,
            bench.writer._logs.totals,
            bench.writer._answers.count,
        )
        bench.writer.connection.execute("PRAGMA query_only = OFF")
        assert place(await bench.publish("b")).offset == 1


async def test_disk_that_hangs_is_trouble_and_blocks_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(groupcommit_module, "SLOW_SECONDS", 0.0)
    async with opened(max_unwritten_bytes=5000) as bench:
        await bench.publish()
        assert bench.broker.trouble is None
        commits = bench.count_commits()
        commits.let.clear()
        waiting = [asyncio.create_task(bench.publish(size=1000)) for _ in range(3)]
        await until(lambda: commits.count == 1)
        assert "the disk has not answered for" in (bench.broker.trouble or "")
        assert await bench.offsets() == [1]
        with pytest.raises(BrokerUnavailable, match="max_unwritten_bytes"):
            await bench.publish(size=1000)
        await bench.publish("live:a")
        commits.let.set()
        receipts = await asyncio.gather(*waiting)
        assert [place(receipt).offset for receipt in receipts] == [2, 3, 4]
        assert bench.broker.trouble is None
        # What alone is larger than may wait is taken when nothing else waits.
        assert place(await bench.publish(size=10_000)).offset == 5


async def test_write_ahead_log_is_cut_though_somebody_read_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "WAL_BYTES", 100_000)
    async with opened() as bench:
        await bench.publish()
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as stranger:
            stranger.execute("BEGIN")
            stranger.execute("SELECT * FROM meta").fetchall()
            for _ in range(50):
                await bench.publish(size=20_000)
            await bench.sweep()
            assert bench.broker._database.wal_bytes > 1_000_000
        await bench.sweep()
        assert bench.broker._database.wal_bytes < 100_000
        assert place(await bench.publish()).offset == 52


async def test_history_that_cannot_be_read_is_trouble_until_it_can() -> None:
    async with opened() as bench:
        await bench.publish()
        with closing(sqlite3.connect(bench.path, isolation_level=None)) as vandal:
            vandal.execute("ALTER TABLE publications RENAME TO elsewhere")
            with pytest.raises(BrokerUnavailable, match="can't be read"):
                await bench.offsets()
            assert "no such table" in (bench.broker.trouble or "")
            vandal.execute("ALTER TABLE elsewhere RENAME TO publications")
        await bench.sweep()
        assert bench.broker.trouble is None
        assert await bench.offsets() == [1]


async def test_order_that_cannot_be_carried_out_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened() as bench:
        results = await asyncio.gather(
            bench.publish(),
            bench.publish(id="\ud800"),  # no text: nothing in UTF-8 stands for it
            bench.publish(),
            return_exceptions=True,
        )
        assert isinstance(results[1], InternalError)
        assert [place(r).offset for r in results if isinstance(r, Receipt)] == [1, 2]
        assert bench.broker.trouble is None
        assert await bench.offsets() == [1, 2]
    assert "broker.order_failed" in caplog.text


async def test_receiver_that_fails_harms_nobody_else() -> None:
    class Faulty(Listener):
        def publication(self, publication: Publication) -> None:
            raise ZeroDivisionError

    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with opened() as bench:
        listener = Listener()
        await bench.broker.subscribe("a", Faulty())
        await bench.broker.subscribe("b", listener)
        await asyncio.gather(bench.publish("a"), bench.publish("b"))
        assert listener.ids == ["n2"]
    assert [type(complaint["exception"]) for complaint in complaints] == [ZeroDivisionError]


async def test_end_of_the_writer_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as bench:
        commits = bench.count_commits()
        commits.let.clear()
        waiting = [asyncio.create_task(bench.publish()) for _ in range(3)]
        await until(lambda: commits.count == 1)
        later = asyncio.create_task(bench.publish())
        await asyncio.sleep(0.01)
        assert bench.broker._commits._work is not None
        bench.broker._commits._work.cancel()
        commits.let.set()
        for task in (*waiting, later):
            with pytest.raises(BrokerUnavailable):
                await task
        assert "the writer has ended" in (bench.broker.trouble or "")
        with pytest.raises(BrokerUnavailable):
            await bench.publish()
    assert "broker.writer_ended" in caplog.text


async def test_trouble_and_its_end_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with opened() as bench:
        bench.writer.connection.execute("PRAGMA query_only = ON")
        for _ in range(3):
            with pytest.raises(BrokerUnavailable):
                await bench.publish()
            await bench.sweep()
        bench.writer.connection.execute("PRAGMA query_only = OFF")
        for _ in range(3):
            await bench.sweep()
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["broker.trouble", "broker.recovered"]


# --- files that can't be opened ---


async def refusal(path: Path) -> str:
    broker = make_sqlite(NAMESPACES, idempotency_ttl=1.0, now_ms=Clock(), path=path)
    with pytest.raises(CannotOpen) as caught:
        await broker.open()
    await broker.close()
    assert str(broker._database.path) in str(caught.value)
    return str(caught.value)


async def test_file_has_one_process(tmp_path: Path) -> None:
    alias = tmp_path / "alias.db"
    alias.symlink_to(tmp_path / "n.db")
    async with opened(tmp_path / "n.db") as bench:
        await bench.publish()
        assert "another process is using it" in await refusal(tmp_path / "n.db")
        assert "another process is using it" in await refusal(alias)
        assert place(await bench.publish()).offset == 2
    async with opened(alias) as bench:
        assert await bench.offsets() == [1, 2]


async def test_missing_directory_is_told(tmp_path: Path) -> None:
    assert "there is no directory" in await refusal(tmp_path / "missing" / "n.db")


async def test_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "n.db").mkdir()
    assert "it is a directory" in await refusal(tmp_path / "n.db")


async def test_file_of_another_kind_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    text = b"Dear diary, " * 1000
    (tmp_path / "diary.txt").write_bytes(text)
    assert "it is not an SQLite database" in await refusal(tmp_path / "diary.txt")
    assert (tmp_path / "diary.txt").read_bytes() == text


async def test_database_of_another_program_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("CREATE TABLE customers (name TEXT)")
        shop.commit()
    before = (tmp_path / "shop.db").read_bytes()
    assert "it is the database of another program" in await refusal(tmp_path / "shop.db")
    assert (tmp_path / "shop.db").read_bytes() == before


async def test_newer_schema_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "n.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute("PRAGMA user_version = 2")
    sentence = await refusal(tmp_path / "n.db")
    assert "a newer notifier made it (schema 2, this one knows 1)" in sentence


async def test_empty_file_is_made_a_database(tmp_path: Path) -> None:
    (tmp_path / "n.db").touch()
    async with opened(tmp_path / "n.db") as bench:
        assert place(await bench.publish()).offset == 1


async def test_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with opened(Path("~/n.db")):
        assert (tmp_path / "n.db").exists()


# --- the sweep ---


async def test_sweep_looks_at_a_bounded_number_of_logs_and_in_turn_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "SWEEP_LOGS", 10)
    async with opened() as bench:
        for n in range(35):
            await bench.publish(f"c{n}")
        bench.clock.ms += HOUR_MS
        sizes = []
        for _ in range(5):
            sizes.append(bench.writer.size // ONE)
            await bench.sweep()
        assert sizes == [35, 25, 15, 5, 0]


async def test_sweep_of_an_idle_broker_writes_nothing() -> None:
    async with opened() as bench:
        await bench.publish(key="k")
        await bench.sweep()
        statements: list[str] = []
        bench.writer.connection.set_trace_callback(statements.append)
        for _ in range(10):
            await bench.sweep()
        assert statements
        assert all(statement.startswith("SELECT") for statement in statements)


async def test_sweep_that_fails_is_trouble() -> None:
    async with opened() as bench:
        await bench.publish()
        bench.writer.connection.execute("PRAGMA query_only = ON")
        bench.clock.ms += HOUR_MS
        await bench.sweep()
        assert "readonly" in (bench.broker.trouble or "")
        bench.writer.connection.execute("PRAGMA query_only = OFF")
        await bench.sweep()
        assert bench.broker.trouble is None
        assert bench.writer.size == 0


# --- the loop ---


async def test_loop_goes_on_while_much_is_read() -> None:
    """Reading happens on other threads: the loop turns meanwhile, and sees its end."""
    async with opened() as bench:
        for _ in range(4):
            await asyncio.gather(*(bench.publish("long:a", size=2000) for _ in range(500)))
        reading = asyncio.create_task(bench.broker.history("long:a", All(), 5000, key="none"))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert list((await reading).publications) == []
        assert turns > 10


async def test_reads_that_may_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "MAX_WAITING_READS", 5)
    async with opened() as bench:
        results = await asyncio.gather(
            *(bench.offsets() for _ in range(10)), return_exceptions=True
        )
        assert [type(r) for r in results] == [list] * 5 + [BrokerUnavailable] * 5
        assert await bench.offsets() == []


async def test_lock_is_let_go_by_whoever_could_not_open(tmp_path: Path) -> None:
    (tmp_path / "n.db").write_bytes(os.urandom(5000))
    await refusal(tmp_path / "n.db")
    (tmp_path / "n.db").unlink()
    async with opened(tmp_path / "n.db") as bench:
        await bench.publish()
