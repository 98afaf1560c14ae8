from __future__ import annotations

from notifier.counts import Histogram, Traffic
from notifier.notification import Gap, Position


def test_a_value_counts_for_the_first_bound_it_is_not_over() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, 100.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == 107.5


def test_what_is_taken_back_was_never_counted() -> None:
    traffic = Traffic("websocket")
    gaps = [
        Gap("a", after=Position("e", 1), before=Position("e", 5)),
        Gap("a", after=Position("e", 9), before=Position("f", 1)),
    ]
    traffic.sent(3, 700, gaps, 10)
    traffic.sent(3, 700, gaps, -1)
    traffic.sent(1, 100, gaps[:1], -1)
    assert (traffic.publications, traffic.bytes) == (26, 6200)
    assert traffic.gaps == {"start": 0, "slow": 8, "log_lost": 9}
