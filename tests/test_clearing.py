"""History that was deleted comes back from nowhere, and whoever needs it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.notification import Gap
from notifier.wire.resume import After, All, Last, Latest, Since, Time
from tests.nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(max_subscriptions=4)
    yield bench
    bench.end()


def clear(bench: Bench) -> int:
    return int(bench.loop.complete(bench.node.clear("a")))


def test_what_was_deleted_is_not_replayed_from_the_ring(bench: Bench) -> None:
    bench.subscribe(bench.connect(), "a", Latest())
    bench.loop.run()
    for message in ("one", "two"):
        bench.publish(message)
    bench.loop.run()
    assert clear(bench) == 2
    bench.publish("three")
    late = bench.connect()
    bench.subscribe(late, "a", All())
    bench.loop.run()
    assert late.told() == [("a", "three")]


def test_what_is_published_and_deleted_in_one_turn_still_goes_to_those_who_are_live(
    bench: Bench,
) -> None:
    live = bench.connect()
    bench.subscribe(live, "a", Latest())
    bench.loop.run()
    bench.publish("one")
    clear(bench)
    bench.loop.run()
    assert live.told() == [("a", "one")]


@pytest.mark.parametrize("steps", range(1, 14))
def test_a_read_under_way_while_history_is_deleted_brings_none_of_it_back(
    bench: Bench, steps: int
) -> None:
    """Of a first subscriber, whose ring is empty; and later of one that comes to a warm ring."""
    for message in ("one", "two"):
        bench.publish(message)
    bench.broker.pauses = (3, 6)
    early = bench.connect()
    bench.subscribe(early, "a", All())
    for _ in range(steps):
        bench.loop.step()
    early.told()  # what it has got until now, it has got
    clear(bench)
    bench.loop.run()
    late = bench.connect()
    bench.subscribe(late, "a", All())
    bench.loop.run()
    assert late.told() == []
    bench.publish("three")
    bench.loop.run()
    assert late.told() == [("a", "three")]


def test_a_page_a_slow_reader_holds_is_let_go_of() -> None:
    bench = Bench(feed_size=1)
    for number in range(8):
        bench.publish(f"{number} " + "x" * 200)
    slow = bench.connect()
    bench.subscribe(slow, "a", All())
    bench.loop.run()
    (subscription,) = bench.node._hub.of(slow.sink).values()
    assert subscription.page
    seen = [message for _, message in slow.told()]
    assert 0 < len(seen) < 8
    clear(bench)
    bench.publish("new")
    rest: list[str] = []
    for _ in range(5):
        bench.loop.run()
        rest += [message for _, message in slow.told()]
    # One was cut in the middle and one may have been on its way to the kernel.
    assert len(rest) <= 4 and rest[-2:] == ["gap", "new"]
    bench.end()


@given(
    events=st.lists(st.sampled_from(["publish", "clear", "forget"]), max_size=8),
    since=st.one_of(
        st.builds(All),
        st.builds(Latest),
        st.integers(1, 4).map(Last),
        st.sampled_from([0, 999, 1000, 1001]).map(Time),
        st.integers(0, 9),
    ),
    present=st.booleans(),
)
def test_a_subscription_begins_where_history_does(
    events: list[str], since: Since | int, present: bool
) -> None:
    """Whether the ring answers or history does, the start and the gap are the same."""
    bench = Bench(max_subscriptions=4)
    try:
        if present:
            bench.subscribe(bench.connect(), "a", All())
            bench.loop.run()
        head = None
        for event in events:
            if event == "publish":
                head = bench.publish("m").position
            elif event == "clear" and head is not None:
                clear(bench)
            elif event == "forget":
                bench.broker.forget_all_history("a")
            bench.loop.run()
        if isinstance(since, int):
            if head is None:
                return
            since = After(type(head)(head.epoch, since))
        page = bench.loop.complete(bench.broker.history("a", since, 100))
        connection = bench.connect()
        bench.subscribe(connection, "a", since)
        bench.loop.run()
        (joined,) = connection.joined
        # The ring may still have what history, over its bound in bytes, has let go of.
        if "forget" not in events:
            assert (joined.position, _ends(joined.gap)) == (page.start, _ends(page.gap))
        elif joined.gap is None and page.gap is None:
            assert joined.position is not None and page.start is not None
        elif joined.gap is not None:
            assert page.gap is not None
        connection.stream.read(1 << 20)
    finally:
        bench.end()


def _ends(gap: Gap | None) -> object:
    return gap and (gap.after, gap.before)
