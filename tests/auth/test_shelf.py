from __future__ import annotations

from dataclasses import dataclass

import pytest

from notifier.auth.shelf import MemoryShelf


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(clock: Clock) -> MemoryShelf:
    return MemoryShelf(clock, limit=3)


async def test_thing_is_there_for_its_time(shelf: MemoryShelf, clock: Clock) -> None:
    for name in "ab":
        await shelf.put(name, b"thing", 30)
    clock.now = 1029.9
    assert await shelf.look("a") == b"thing"
    assert await shelf.take("a") == b"thing"
    clock.now = 1030
    assert await shelf.look("b") is None
    assert await shelf.take("b") is None
    assert len(shelf) == 0


async def test_over_the_limit_the_oldest_are_dropped(shelf: MemoryShelf) -> None:
    for name in "abcd":
        await shelf.put(name, b"thing", 30)
    assert len(shelf) == 3
    assert [await shelf.take(name) for name in "abcd"] == [None, b"thing", b"thing", b"thing"]


async def test_those_that_ended_make_room(shelf: MemoryShelf, clock: Clock) -> None:
    for name in ("old", "older"):
        await shelf.put(name, b"thing", 30)
    clock.now = 1030
    await shelf.put("a", b"thing", 30)
    assert len(shelf) == 1, "nobody else will take them"
    for name in "bc":
        await shelf.put(name, b"thing", 30)
    assert [await shelf.take(name) for name in "abc"] == [b"thing"] * 3
