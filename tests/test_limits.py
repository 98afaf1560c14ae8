"""Token buckets: never more than the rate allows, never less than it promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.limits import Buckets, Rate, network_of


def test_a_burst_goes_through_and_then_the_rate() -> None:
    buckets = Buckets(Rate(10, burst=3))
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 0.0) == pytest.approx(0.1)
    assert buckets.take("a", 0.05) == pytest.approx(0.05)
    assert buckets.take("a", 0.1) == 0.0
    assert buckets.take("a", 0.1) == pytest.approx(0.1)


def test_each_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(Rate(1, burst=1))
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) == pytest.approx(1.0)


def test_what_was_refused_costs_nothing() -> None:
    buckets = Buckets(Rate(1, burst=1))
    buckets.take("a", 0.0)
    for _ in range(100):
        assert buckets.take("a", 0.5) == pytest.approx(0.5)
    assert buckets.take("a", 1.0) == 0.0


def test_more_than_a_bucket_holds_is_given_when_it_is_full_and_owed() -> None:
    buckets = Buckets(Rate(10, burst=5))
    assert buckets.take("a", 0.0, count=20) == 0.0
    assert buckets.take("a", 0.0) == pytest.approx(1.6)
    assert buckets.take("a", 0.0, count=20) == pytest.approx(2.0)
    assert buckets.take("a", 2.0, count=20) == 0.0


def test_what_is_owed_is_taken_at_once_and_paid_in_time() -> None:
    buckets = Buckets(Rate(10, burst=5))
    assert buckets.owe("a", 0.0, 5) == 0.0
    assert buckets.owe("a", 0.0, 5) == pytest.approx(0.5)
    assert buckets.owe("a", 0.0, 5) == pytest.approx(1.0)
    assert buckets.take("a", 0.9) == pytest.approx(0.2)
    assert buckets.owe("b", 0.9, 7) == pytest.approx(0.2)


def test_a_debt_can_be_bounded_and_is_never_made_less_by_that() -> None:
    buckets = Buckets(Rate(10, burst=5))
    buckets.owe("a", 0.0, 1000, longest=2.0)
    assert buckets.take("a", 0.0) == pytest.approx(1.6)
    buckets.owe("a", 0.0, 100)
    buckets.owe("a", 0.0, 1, longest=2.0)
    assert buckets.take("a", 0.0) == pytest.approx(11.6)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_of_ipv6_a_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


def test_who_used_it_longest_ago_is_forgotten_first() -> None:
    buckets = Buckets(Rate(1, burst=1), max_buckets=2)
    for name in ("a", "b", "a", "c"):
        buckets.take(name, 0.0)
    assert len(buckets) == 2
    assert buckets.take("a", 0.0) > 0 or buckets.take("c", 0.0) > 0


def test_full_buckets_are_swept_away_and_others_are_not() -> None:
    buckets = Buckets(Rate(1, burst=2))
    buckets.take("early", 0.0)
    buckets.take("late", 5.0, count=2)
    buckets.sweep(6.0)
    assert len(buckets) == 1
    assert buckets.take("late", 6.0, count=2) == pytest.approx(1.0)
    buckets.sweep(7.0)
    assert len(buckets) == 0


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    waits=st.lists(st.floats(0, 3), max_size=200),
)
def test_nobody_ever_gets_more_than_the_rate(
    per_second: float, burst: int, waits: list[float]
) -> None:
    buckets, now, taken = Buckets(Rate(per_second, burst)), 0.0, []
    for wait in waits:
        now += wait
        if buckets.take("a", now) == 0.0:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - taken[first]) * per_second
            assert last - first + 1 <= allowed + 1e-3


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 60)), max_size=100),
)
def test_who_waits_as_long_as_told_is_served(
    per_second: float, burst: int, steps: list[tuple[float, int]]
) -> None:
    buckets, now = Buckets(Rate(per_second, burst)), 0.0
    for wait, count in steps:
        now += wait
        told = buckets.take("a", now, count)
        if told:
            assert told > 0
            now += told
            assert buckets.take("a", now, count) == 0.0
