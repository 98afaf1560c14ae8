"""The tail of a log by itself: where a subscription begins, and what it may answer for history."""

from __future__ import annotations

from notifier.channels import Namespace
from notifier.counts import Counts
from notifier.feed import Feed
from notifier.history import History
from notifier.notification import Position, Publication
from notifier.ring import Budget
from notifier.tail import Start
from notifier.wire.resume import After, All, Last, Latest

NOW = 1_000_000


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def publication(offset: int, *, epoch: str = "e", expires_ms: int | None = None) -> Publication:
    place = at(offset, epoch)
    return Publication("a", place, str(place), NOW, b'"message":"m"', None, expires_ms)


def feed(*, history_size: int = 100, feed_size: int = 100, head: int = 0) -> Feed:
    made = Feed(
        "a",
        Namespace(history_size=history_size),
        feed_size=feed_size,
        feed_bytes=1 << 20,
        budget=Budget(1 << 30),
        counts=Counts(),
        on_dirty=lambda _: None,
        on_behind=lambda _: None,
    )
    made.begin(at(head))
    return made


def flush(of: Feed) -> None:
    while of.dirty:
        assert of.run(0.0, lambda: 0.0)


def test_latest_begins_at_the_head_though_the_head_is_not_flushed() -> None:
    a = feed()
    a.publication(publication(1))
    assert a.tail.locate(Latest(), NOW) == Start(at(1), cursor=1)


def test_ring_answers_for_a_channel_that_began_with_it() -> None:
    a = feed()
    for offset in range(1, 6):
        a.publication(publication(offset))
    assert a.tail.locate(All(), NOW) == Start(at(0), cursor=0)
    assert a.tail.locate(Last(2), NOW) == Start(at(3), cursor=3)
    assert a.tail.locate(After(at(2)), NOW) == Start(at(2), cursor=2)
    # Another node may know of these, though this one has not heard of them.
    assert a.tail.locate(After(at(9)), NOW) is None
    assert a.tail.locate(After(Position("another", 2)), NOW) is None


def test_ring_that_holds_less_than_history_does_not_answer() -> None:
    a = feed(feed_size=2)
    for offset in range(1, 6):
        a.publication(publication(offset))
    flush(a)
    for since in (All(), Last(3), After(at(1))):
        assert a.tail.locate(since, NOW) is None
    assert a.tail.locate(After(at(3)), NOW) == Start(at(3), cursor=3)


def test_ring_that_holds_more_than_history_says_what_is_lost() -> None:
    a = feed(history_size=3, feed_size=4)
    for offset in range(1, 8):
        a.publication(publication(offset))
    flush(a)
    start = a.tail.locate(After(at(1)), NOW)
    assert start is not None and start.gap is not None
    assert (start.gap.after, start.gap.before) == (at(1), at(5))


def test_expired_publications_do_not_stand_for_those_history_still_has() -> None:
    """History lets go of 3 and 4 when they expire, and has room for 2: the ring has not."""
    a = feed(history_size=4, feed_size=5)
    for offset in range(1, 8):
        a.publication(publication(offset, expires_ms=NOW if offset in (3, 4) else None))
    flush(a)
    assert a.tail.locate(All(), NOW) is None
    assert a.tail.locate(After(at(1)), NOW) is None


def test_history_is_put_before_the_ring_without_a_seam() -> None:
    a = feed(head=5)
    a.publication(publication(6))
    pages = [publication(offset) for offset in range(1, 7)]
    a.warm(History("a", at(0), at(6), pages))
    assert [p.item.position for p in a.tail.ring.slice(a.tail.ring.base, a.tail.ring.end)] == [
        at(offset) for offset in range(1, 7)
    ]
    assert a.tail.locate(All(), NOW) == Start(at(0), cursor=a.tail.ring.base)


def test_history_read_too_early_makes_no_hole_before_the_ring() -> None:
    a = feed(head=2, feed_size=1)
    early = History("a", at(0), at(2), [publication(1), publication(2)])
    for offset in range(3, 7):
        a.publication(publication(offset))
    flush(a)
    a.warm(early)
    assert a.tail.locate(After(at(2)), NOW) is None, "3 to 5 are not in the ring"


def test_history_of_another_epoch_is_not_put_before_the_ring() -> None:
    a = feed(head=2)
    a.publication(publication(1, epoch="new"))
    a.warm(History("a", at(0, "new"), at(1, "new"), [publication(1, epoch="new")]))
    assert a.tail.locate(After(at(0, "new")), NOW) == Start(at(0, "new"), cursor=1)
    assert a.tail.locate(After(at(1)), NOW) is None


def test_ring_that_has_dropped_items_takes_no_history() -> None:
    """Who fell behind has the numbers of what was dropped: they must not come to mean others."""
    a = feed(head=2, feed_size=2)
    for offset in range(3, 8):
        a.publication(publication(offset))
    flush(a)
    base = a.tail.ring.base
    a.warm(History("a", at(0), at(7), [publication(offset) for offset in range(1, 8)]))
    assert a.tail.ring.base == base
