"""Rare full collections, but collections all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest

from notifier.collector import FULL_EVERY, GROWTH_BYTES, Growth, resident_bytes, settle


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def settled() -> Iterator[None]:
    thresholds = gc.get_threshold()
    settle()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_was_there_at_the_start_is_not_visited_again(settled: None) -> None:
    started = gc.get_freeze_count()
    assert started > 10_000, "all that was imported"
    assert len(gc.get_objects()) < started / 10


def test_what_grew_old_and_then_died_is_collected(settled: None) -> None:
    knots = [Knot() for _ in range(1000)]
    gc.collect(1)  # they are old now, which only a full collection visits
    ends = [weakref.ref(knot) for knot in knots]
    knots.clear()
    young, middle, _ = gc.get_threshold()
    crowd: list[list[None]] = []
    for _ in range(2 * young * middle * FULL_EVERY):
        crowd.append([])
    assert not any(end() for end in ends)


def test_memory_that_has_grown_by_much_is_looked_through() -> None:
    resident = 10 * GROWTH_BYTES
    growth = Growth(lambda: resident, lambda: 0.0)
    knots = [Knot()]
    gc.collect(1)
    (end,) = (weakref.ref(knot) for knot in knots)
    knots.clear()
    resident += 2 * GROWTH_BYTES
    assert not growth.look(), "less than a quarter"
    assert end()
    resident += GROWTH_BYTES
    assert growth.look()
    assert not end()
    assert not growth.look(), "it has grown no more since"


def test_memory_that_shrank_and_grew_again_is_looked_through() -> None:
    resident = 10 * GROWTH_BYTES
    growth = Growth(lambda: resident, lambda: 0.0)
    resident = GROWTH_BYTES
    assert not growth.look()
    resident = 2 * GROWTH_BYTES - 1
    assert not growth.look()
    resident = 2 * GROWTH_BYTES
    assert growth.look()


def test_looking_through_memory_does_not_take_much_of_the_time() -> None:
    resident, now = 0, 0.0

    def clock() -> float:
        nonlocal now
        now += 0.1  # so a collection takes as long
        return now

    growth = Growth(lambda: resident, clock)
    looks = []
    for _ in range(100):
        resident = GROWTH_BYTES
        looks.append(growth.look())
        resident = 0
        growth.look()
    # A clock that is read once where there is none, and twice more where there is.
    assert looks[0]
    assert 2 <= looks.count(True) <= 10


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says what a process has")
def test_what_a_process_has_in_memory_is_told() -> None:
    before = resident_bytes()
    # Of the kernel, not of what the allocator has kept from other tests.
    with mmap(-1, 2**25) as much:
        much.write(bytes(2**25))
        assert resident_bytes() - before > 2**24
