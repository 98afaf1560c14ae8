from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from notifier.notification import Gap, Position, Publication
from notifier.ring import Budget, Ring
from notifier.wire.prepared import Prepared


def publication(offset: int, size: int = 0) -> Prepared:
    return Prepared(Publication("a", Position("e", offset), f"n{offset}", 0, b"x" * size))


def gap(before: int) -> Prepared:
    return Prepared(Gap("a", None, Position("e", before)))


ONE = 800  # a publication without a body, and room for one encoding of it


def ring_of(*offsets: int, max_items: int = 100, max_bytes: int = 10**9) -> Ring:
    ring = Ring(max_items=max_items, max_bytes=max_bytes, budget=Budget(1 << 30))
    for offset in offsets:
        ring.append(publication(offset))
    return ring


def test_sequences_are_without_holes_where_offsets_are_not() -> None:
    ring = ring_of(3, 7, 8)
    assert (ring.base, ring.end) == (0, 3)
    assert [ring.after(offset, 0) for offset in range(2, 10)] == [0, 1, 1, 1, 1, 2, 3, 3]


def test_older_items_get_lower_sequences_and_move_none() -> None:
    ring = ring_of(5, 6)
    kept = ring[0]
    ring.prepend([publication(3), publication(4)])
    assert (ring.base, ring.end) == (-2, 2)
    assert ring[0] is kept
    assert ring.after(3, ring.base) == -1
    assert ring.size == 4 * ONE


def test_search_begins_where_offsets_begin_to_rise() -> None:
    ring = ring_of(40, 41, 42, 43)
    ring.append(gap(before=5))
    ring.append(publication(5))
    assert ring.after(4, 4) == 5
    assert ring.after(5, 4) == 6


def test_ring_is_crowded_when_it_has_no_room_for_what_is_to_come() -> None:
    ring = ring_of(max_bytes=10 * ONE)
    assert not ring.crowded(0, 20 * ONE)  # however much: nothing of it waits
    ring.append(publication(1))
    assert not ring.crowded(0, 9 * ONE)
    assert ring.crowded(0, 10 * ONE)


def test_ring_is_crowded_when_half_of_it_is_unsent() -> None:
    assert not ring_of(max_bytes=10 * ONE).crowded(0, 0)
    ring = ring_of(*range(1, 9), max_bytes=10 * ONE)
    assert [ring.crowded(start, 0) for start in range(9)] == [True] * 3 + [False] * 6


def test_oldest_are_trimmed_by_count_and_the_newest_of_them_is_told() -> None:
    ring = ring_of(1, 2, 3, 4, max_items=2)
    second = ring[1]
    assert ring.trim(keep_from=4) is second
    assert (ring.base, ring.end) == (2, 4)
    assert ring.trim(keep_from=4) is None


def test_nothing_is_trimmed_from_a_sequence_on_that_is_still_needed() -> None:
    ring = ring_of(1, 2, 3, 4, max_items=1)
    assert ring.trim(keep_from=0) is None
    assert ring.trim(keep_from=-5) is None
    ring.trim(keep_from=1)
    assert ring.base == 1
    ring.trim(keep_from=99)
    assert (ring.base, ring.end) == (3, 4)


def test_one_item_over_the_bytes_may_go_too() -> None:
    ring = Ring(max_items=9, max_bytes=10, budget=Budget(1 << 30))
    ring.append(publication(1, size=100))
    assert ring.overfull
    ring.trim(keep_from=1)
    assert (ring.base, ring.end, ring.size, ring.overfull) == (1, 1, 0, False)


def test_stretch_is_at_least_one_item_and_at_most_the_bytes() -> None:
    ring = ring_of(1, 2, 3)
    assert ring.cut(0, 3, 0) == 1
    assert ring.cut(0, 3, 2 * ONE - 1) == 1
    assert ring.cut(0, 3, 2 * ONE) == 2
    assert ring.cut(0, 3, 10**9) == 3
    assert ring.cut(1, 2, 10**9) == 2
    assert ring.cut(3, 3, 10**9) == 3


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(0, 99))
def test_cursor_after_an_offset_is_where_the_next_higher_one_is(
    steps: list[int], offset: int
) -> None:
    offsets = [sum(steps[: n + 1]) for n in range(len(steps))]
    assert ring_of(*offsets).after(offset, 0) == bisect_right(offsets, offset)


class AnyUse(RuleBasedStateMachine):
    """A ring is a list whose indices stay with their items."""

    MAX_ITEMS, MAX_BYTES = 5, 7 * ONE

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(max_items=self.MAX_ITEMS, max_bytes=self.MAX_BYTES, budget=Budget(1 << 30))
        self.items: dict[int, Prepared] = {}
        self.next = 0

    @rule(size=st.integers(0, 4 * ONE), is_gap=st.booleans())
    def append(self, size: int, is_gap: bool) -> None:
        item = gap(self.next + 1) if is_gap else publication(self.next + 1, size)
        self.ring.append(item)
        self.items[self.next] = item
        self.next += 1

    @rule(count=st.integers(0, 3))
    def prepend(self, count: int) -> None:
        older = [publication(0) for _ in range(count)]
        base = self.ring.base
        self.ring.prepend(older)
        self.items.update(dict(enumerate(older, base - count)))

    @rule(keep=st.integers(-3, 12))
    def trim(self, keep: int) -> None:
        keep_from = self.ring.base + keep
        dropped = self.ring.trim(keep_from)
        gone = [sequence for sequence in sorted(self.items) if sequence < self.ring.base]
        assert all(sequence < keep_from for sequence in gone)
        assert dropped is (self.items[gone[-1]] if gone else None)
        for sequence in gone:
            del self.items[sequence]
        within = len(self.items) <= self.MAX_ITEMS and self.ring.size <= self.MAX_BYTES
        assert within or self.ring.base >= min(keep_from, self.ring.end)

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def slice(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(self.ring.base, self.ring.end))
        stop = data.draw(st.integers(start, self.ring.end))
        assert self.ring.slice(start, stop) == [self.items[n] for n in range(start, stop)]

    @invariant()
    def holds_what_it_should(self) -> None:
        assert self.ring.end - self.ring.base == len(self.items)
        assert all(self.ring[sequence] is item for sequence, item in self.items.items())
        whole = Ring(max_items=1, max_bytes=1, budget=Budget(1 << 30))
        for item in self.items.values():
            whole.append(item)
        assert self.ring.size == whole.size


TestAnyUse = AnyUse.TestCase


def test_rings_share_a_budget_and_give_back_what_they_let_go() -> None:
    budget = Budget(10 * ONE)
    idle, busy = (Ring(max_items=100, max_bytes=10**9, budget=budget) for _ in range(2))
    for ring in (idle, busy):
        for offset in range(6):
            ring.append(publication(offset))
            ring.trim(keep_from=ring.end)
    assert budget.used == idle.size + busy.size == 10 * ONE
    for offset in range(6, 50):
        busy.append(publication(offset))
        busy.trim(keep_from=busy.end - 1)
    assert busy.end - busy.base >= 1, "what is not flushed stays"
    assert budget.used <= 10 * ONE
    idle.clear()
    assert idle.size == 0 and idle.base == idle.end == 6 and budget.used == busy.size
