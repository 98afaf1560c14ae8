"""Rare full collections, but collections all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from notifier.collector import FULL_EVERY, settle


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
