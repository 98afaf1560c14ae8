"""How fast a producer publishes, on one node and on several, on a clock of the test's own."""

from __future__ import annotations

from collections import Counter

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.brokers.fleet import MAX_BUCKET_NAME
from notifier.errors import PublishingTooFast
from notifier.limits import bucket_of
from notifier.publishrate import PublishRate

HERE, THERE = "192.0.2.1", "192.0.2.2"
KEY = Identity("key", "ci")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def a_rate(per_second: int, clock: Clock) -> PublishRate:
    return PublishRate(per_second, clock, at_once=1000, on_taken=lambda bucket, count: None)


def test_each_producer_has_its_own_rate() -> None:
    rate = a_rate(2, Clock())
    rate.take(KEY, HERE, 4)
    with pytest.raises(PublishingTooFast) as refused:
        rate.take(KEY, THERE)
    assert (refused.value.limit, refused.value.retry_after_ms) == (2, 500)
    rate.take(ANYBODY, HERE, 4)
    rate.take(Identity("token", "ci"), HERE, 4)
    rate.take(ANYBODY, THERE, 4)
    with pytest.raises(PublishingTooFast):
        rate.take(ANYBODY, HERE)


def test_of_many_all_or_none_are_let_through() -> None:
    clock = Clock()
    rate = a_rate(2, clock)
    rate.take(KEY, HERE, 2)
    with pytest.raises(PublishingTooFast):
        rate.take(KEY, HERE, 3)
    rate.take(KEY, HERE, 2)
    # More than may come at once, when nothing came for long enough; and then it is owed.
    clock.now = 2.0
    rate.take(KEY, HERE, 10)
    with pytest.raises(PublishingTooFast) as refused:
        rate.take(KEY, HERE)
    assert refused.value.retry_after_ms == 3500


def test_who_waits_in_line_is_let_through_in_turn() -> None:
    clock = Clock()
    rate = a_rate(10, clock)
    assert [rate.owe(KEY, HERE, 10) for _ in range(4)] == pytest.approx([0.0, 0.0, 1.0, 2.0])
    clock.now = 10.0
    assert rate.owe(KEY, HERE, 10) == 0.0
    rate.sweep()
    clock.now = 20.0
    rate.sweep()
    assert rate.owe(KEY, HERE, 20) == 0.0


# --- on several nodes ---


class Nodes:
    """So many nodes that are told of each other twice a second, while they hear.

    :ivar let_through: of one producer, by all of them.
    """

    def __init__(self, count: int, per_second: int, *, at_once: int = 1) -> None:
        self.clock = Clock()
        self.hear = True
        self.let_through = 0
        self._untold = [Counter[str]() for _ in range(count)]
        self.rates = [
            PublishRate(
                per_second,
                self.clock,
                at_once=at_once,
                on_taken=lambda bucket, taken, untold=untold: untold.update({bucket: taken}),  # type: ignore[misc]
            )
            for untold in self._untold
        ]

    def tell(self) -> None:
        for teller, untold in zip(self.rates, self._untold, strict=True):
            for rate in self.rates:
                if self.hear and rate is not teller:
                    rate.spent_elsewhere(untold)
            untold.clear()

    def publish(self, seconds: float, *, count: int = 1, asked_per_second: int = 1000) -> None:
        """Ask one node after the other, as fast as that."""
        for number in range(round(seconds * asked_per_second)):
            self.clock.now += 1 / asked_per_second
            if number % (asked_per_second // 2) == 0:
                self.tell()
            try:
                self.rates[number % len(self.rates)].take(KEY, HERE, count)
            except PublishingTooFast:
                continue
            self.let_through += count

    def wait(self) -> float:
        """Seconds until somebody is let through who was not."""
        waits = []
        for rate in self.rates:
            with pytest.raises(PublishingTooFast) as refused:
                rate.take(KEY, HERE)
            waits.append(refused.value.retry_after_ms / 1000)
        return max(waits)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_in_the_long_run_all_nodes_together_let_through_the_rate(count: int) -> None:
    nodes = Nodes(count, 20)
    nodes.publish(60)
    # What all hold at once is paid back: at the end each node may be ahead by half a second's.
    assert nodes.let_through == pytest.approx(2 * 20 + 60 * 20, abs=count * 10 + 10)


def test_who_spent_all_bursts_at_once_waits_seconds() -> None:
    nodes = Nodes(10, 20)
    for rate in nodes.rates:
        rate.take(KEY, HERE, 40)
    nodes.tell()
    assert nodes.wait() == pytest.approx(9 * 2, abs=0.1)


def test_arrays_on_one_node_after_the_other_keep_to_the_rate() -> None:
    nodes = Nodes(4, 1, at_once=100)
    nodes.publish(1000, count=100, asked_per_second=4)
    assert 900 <= nodes.let_through <= 1400


def test_a_debt_ends_whatever_is_told() -> None:
    nodes = Nodes(2, 20)
    first, _ = nodes.rates
    for _ in range(3):
        first.spent_elsewhere({bucket_of(KEY.producer, HERE): 10**12})
    with pytest.raises(PublishingTooFast) as refused:
        first.take(KEY, HERE)
    assert 29_000 <= refused.value.retry_after_ms <= 32_000
    nodes.clock.now = 30.1
    first.take(KEY, HERE)


def test_nodes_that_hear_nothing_of_each_other_limit_by_themselves() -> None:
    nodes = Nodes(3, 20)
    nodes.hear = False
    nodes.publish(10)
    assert nodes.let_through == pytest.approx(3 * (40 + 200), abs=3)
    # Nor is it held against anybody when they hear again.
    nodes.tell()
    nodes.hear = True
    nodes.let_through = 0
    nodes.publish(10)
    assert 180 <= nodes.let_through <= 260


def test_what_was_refused_is_not_told() -> None:
    told: list[tuple[str, int]] = []
    rate = PublishRate(1, Clock(), at_once=1, on_taken=lambda *taken: told.append(taken))
    rate.take(KEY, HERE, 2)
    with pytest.raises(PublishingTooFast):
        rate.take(KEY, HERE)
    rate.owe(ANYBODY, HERE, 5)
    assert told == [(bucket_of(KEY.producer, HERE), 2), (bucket_of(ANYBODY.producer, HERE), 5)]


def test_buckets_are_told_by_digests_of_whoever_it_is() -> None:
    producers = [
        (KEY, HERE),
        (Identity("token", "ci"), HERE),
        (Identity("token", "x" * 100_000), HERE),
        (Identity("token", "\n\udc80é"), HERE),
        (ANYBODY, HERE),
        (ANYBODY, THERE),
        (ANYBODY, "2001:db8::1"),
    ]
    names = [bucket_of(who.producer, where) for who, where in producers]
    assert len(set(names)) == len(names)
    assert all(len(name) <= MAX_BUCKET_NAME and name.isalnum() for name in names)
    assert bucket_of(KEY.producer, THERE) == bucket_of(KEY.producer, HERE)
    assert bucket_of(ANYBODY.producer, "2001:db8::2") == bucket_of(ANYBODY.producer, "2001:db8::1")
