from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from notifier.brokers.redis.witness import Witness
from notifier.errands import Errands
from notifier.notification import Position


class Log:
    """A log, its calls, and the Redis that has it.

    :ivar meanwhile: called when something has been read, before the answer is there.
    """

    def __init__(self, *ids: str) -> None:
        self.epoch = "e"
        self.ids = list(ids)
        self.forks: list[int] = []
        self.errands = Errands()
        self.meanwhile: Callable[[], None] = lambda: None

    def follow(self, channel: str, after: Position, *, entries: int) -> tuple[str, Any]:
        return "follow", after.offset

    def fork(self, channel: str, seen: Position, common: int) -> tuple[str, Any]:
        return "fork", common

    async def run(self, calls: list[tuple[str, Any]]) -> list[Any]:
        answers = [self._answer(*call) for call in calls]
        self.meanwhile()
        return answers

    async def one(self, call: tuple[str, Any]) -> Any:
        return self._answer(*call)

    def _answer(self, kind: str, offset: int) -> Any:
        if kind == "fork":
            self.forks.append(offset)
            return b"f"
        same = self.ids[offset - 1] if 0 < offset <= len(self.ids) else ""
        return [b"e", b"%d" % len(self.ids), b"0", 0, b"0", b"", same.encode(), 0]


def witness_of(log: Log, *stored: str) -> Witness:
    witness = Witness(log, log, log.errands, lambda: 0.0)  # type: ignore[arg-type]
    for offset, id in enumerate(stored, start=1):
        witness.stored("a", Position("e", offset), id)
    return witness


async def compared(log: Log, witness: Witness) -> None:
    """Wait until it knows whether Redis still has what it had."""
    witness.doubt()
    while log.errands._tasks:
        await asyncio.wait(set(log.errands._tasks))


async def test_log_that_lacks_what_was_stored_is_forked() -> None:
    log = Log("one")
    await compared(log, witness_of(log, "one", "two"))
    assert log.forks == [1]


async def test_log_that_has_something_else_there_is_forked() -> None:
    log = Log("one", "other", "more")
    await compared(log, witness_of(log, "one", "two"))
    assert len(log.forks) == 1


async def test_what_is_stored_while_the_log_is_read_contradicts_nothing() -> None:
    log = Log("one", "two")
    witness = witness_of(log, "one", "two")

    def store() -> None:
        log.ids.append("three")
        witness.stored("a", Position("e", 3), "three")

    log.meanwhile = store
    await compared(log, witness)
    assert log.forks == []
