"""Tickets that nobody has shown yet: how many there may be."""

from __future__ import annotations

import pytest

from notifier.auth.unspent import Unspent
from notifier.errors import TooManyTickets, TooManyTicketsOfUser


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_has_so_many_and_others_as_many(clock: Clock) -> None:
    unspent = Unspent(2, clock=clock)
    unspent.add("a", "one", 30)
    clock.now += 10
    unspent.add("b", "one", 30)
    with pytest.raises(TooManyTicketsOfUser) as refused:
        unspent.add("c", "one", 30)
    assert (refused.value.limit, refused.value.retry_after_ms) == (2, 20_000)
    unspent.add("c", "another", 30)


def test_what_is_shown_makes_room_and_so_does_what_ended(clock: Clock) -> None:
    unspent = Unspent(1, clock=clock)
    unspent.add("a", "one", 30)
    unspent.remove("a")
    unspent.remove("a")
    unspent.remove("of another node")
    unspent.add("b", "one", 30)
    clock.now += 29.9
    with pytest.raises(TooManyTicketsOfUser):
        unspent.add("c", "one", 30)
    clock.now += 0.1
    unspent.add("c", "one", 30)
    assert len(unspent) == 1


def test_all_together_are_bounded_and_none_that_is_out_is_dropped(clock: Clock) -> None:
    unspent = Unspent(2, most=3, clock=clock)
    for number in range(3):
        unspent.add(f"t{number}", f"holder {number}", 30)
    with pytest.raises(TooManyTickets) as refused:
        unspent.add("t3", "holder 3", 30)
    assert (refused.value.status, refused.value.retry_after_ms) == (503, 30_000)
    unspent.remove("t0")
    unspent.add("t3", "holder 3", 30)
    clock.now += 30
    unspent.add("t4", "holder 4", 30)
    assert len(unspent) == 1 and len(unspent._of) == 1


def test_without_a_limit_of_each_there_is_that_of_all(clock: Clock) -> None:
    unspent = Unspent(0, most=5, clock=clock)
    for number in range(5):
        unspent.add(f"t{number}", "one", 30)
    with pytest.raises(TooManyTickets):
        unspent.add("t5", "one", 30)
