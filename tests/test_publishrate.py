"""How fast a producer publishes, on a clock of the test's own."""

from __future__ import annotations

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.errors import PublishingTooFast
from notifier.publishrate import PublishRate

HERE, THERE = "192.0.2.1", "192.0.2.2"
KEY = Identity("key", "ci")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_producer_has_its_own_rate() -> None:
    rate = PublishRate(2, Clock())
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
    rate = PublishRate(2, clock)
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
    rate = PublishRate(10, clock)
    assert [rate.owe(KEY, HERE, 10) for _ in range(4)] == pytest.approx([0.0, 0.0, 1.0, 2.0])
    clock.now = 10.0
    assert rate.owe(KEY, HERE, 10) == 0.0
    rate.sweep()
    clock.now = 20.0
    rate.sweep()
    assert rate.owe(KEY, HERE, 20) == 0.0
