"""Turns: very many sockets, busy neighbours and slow readers share the loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from notifier.channels import Namespace, Namespaces
from notifier.counts import Counts
from notifier.hub import LONG_SLICE_SECONDS, SLICE_SECONDS, Hub
from notifier.lane import STRIDE
from notifier.notification import Position, Publication
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Start
from notifier.wire.websocket import NATIVE
from tests.fakestream import FakeStream
from tests.handloop import HandLoop

# What one send takes on the fake clock.
SEND_SECONDS = 0.00001


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Outlet(FakeStream):
    """A socket that takes its time; it keeps the number of bytes alone."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(capacity=1 << 40)
        self._clock = clock
        self.got = 0

    def send(self, data: bytes) -> int:
        self._clock.now += SEND_SECONDS
        self.got += len(data)
        return len(data)


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.turns: list[Callable[[], None]] = []
        self.off_the_ring: list[Subscription] = []
        self.longest = 0.0
        self.counts = Counts()
        self.hub = Hub(
            Namespaces(Namespace()),
            feed_size=1000,
            feed_bytes=1 << 22,
            feeds_bytes=1 << 30,
            counts=self.counts,
            call_soon=self.turns.append,
            clock=self.clock,
            now_ms=lambda: 1000,
            on_history=lambda _, subscription: self.off_the_ring.append(subscription),
        )

    def subscribe(self, channel: str, cursor: int | None = None) -> tuple[Outlet, Subscription]:
        stream = Outlet(self.clock)
        return stream, self.attach(stream, channel, cursor)

    def attach(self, stream: FakeStream, channel: str, cursor: int | None = None) -> Subscription:
        sink = Sink(
            stream,
            NATIVE,
            max_pending_bytes=1000,
            on_blocked=self.hub.blocked,
            on_drained=self.hub.drained,
            on_finished=lambda _: None,
            traffic=self.counts.traffic["websocket"],
        )
        subscription = self.hub.attach(sink, channel)
        feed = self.hub.feeds[subscription.channel]
        if feed.tail.head is None:
            feed.begin(Position("e", 0))
        end = feed.tail.ring.end if cursor is None else cursor
        self.hub.begin(subscription, Start(feed.tail.position_at(end), cursor=end))
        return subscription

    def publish(self, channel: str, size: int = 10) -> None:
        feed = self.hub.feeds[channel]
        assert feed.tail.head is not None
        place = Position("e", feed.tail.head.offset + 1)
        feed.publication(Publication(channel, place, str(place), 1000, b'"m":"%s"' % (b"x" * size)))

    def turn(self) -> None:
        """One turn of the loop; the hub asks for one at most."""
        assert len(self.turns) <= 1
        begin = self.clock.now
        self.turns.pop()()
        self.longest = max(self.longest, self.clock.now - begin)

    def run(self) -> int:
        count = 0
        while self.turns:
            self.turn()
            count += 1
            assert count < 10_000, "the hub never rests"
        return count


@pytest.mark.alone
def test_pass_over_fifteen_thousand_sockets_never_holds_the_loop_for_long() -> None:
    bench = Bench()
    outlets = [bench.subscribe("a")[0] for _ in range(15_000)]
    bench.run()
    bench.longest = 0.0
    bench.publish("a")
    turns = bench.run()
    assert all(outlet.got for outlet in outlets)
    assert len({outlet.got for outlet in outlets}) == 1, "each once"
    # One slice for the pass alone: nobody catches up, and nobody else holds the loop.
    assert bench.longest <= SLICE_SECONDS + STRIDE * SEND_SECONDS
    assert turns >= 15_000 * SEND_SECONDS / (SLICE_SECONDS + STRIDE * SEND_SECONDS)


@pytest.mark.parametrize(
    ("others_seconds", "slice_seconds"), [(0.0005, SLICE_SECONDS), (0.002, LONG_SLICE_SECONDS)]
)
def test_pass_has_its_share_of_a_loop_that_others_hold(
    others_seconds: float, slice_seconds: float
) -> None:
    bench = Bench()
    for _ in range(5_000):
        bench.subscribe("a")
    bench.run()
    bench.publish("a")
    bench.turn()
    begin = bench.clock.now
    bench.clock.now += others_seconds
    bench.turn()
    served = bench.clock.now - begin - others_seconds
    assert slice_seconds <= served <= slice_seconds + STRIDE * SEND_SECONDS


def test_first_slice_after_a_rest_is_short() -> None:
    bench = Bench()
    for _ in range(5_000):
        bench.subscribe("a")
    bench.run()
    bench.clock.now += 60.0
    begin = bench.clock.now
    bench.publish("a")
    bench.turn()
    assert bench.clock.now - begin <= SLICE_SECONDS + STRIDE * SEND_SECONDS


def test_others_are_caught_up_while_a_long_pass_is_under_way() -> None:
    bench = Bench()
    crowd = [bench.subscribe("a")[0] for _ in range(5_000)]
    bench.subscribe("b")
    bench.run()
    for _ in range(3):
        bench.publish("b")
    bench.run()
    bench.publish("a")
    bench.turn()
    assert any(not outlet.got for outlet in crowd), "the pass is under way"
    returned, subscription = bench.subscribe("b", cursor=0)
    bench.turn()
    assert returned.got
    bench.turn()
    assert subscription.standing is Standing.LIVE
    assert any(not outlet.got for outlet in crowd), "the pass is still under way"


def test_feed_that_is_always_busy_does_not_starve_another() -> None:
    bench = Bench()
    crowd = [bench.subscribe("busy")[0] for _ in range(2_000)]
    quiet, _ = bench.subscribe("quiet")
    bench.run()
    bench.publish("busy")
    bench.turn()
    bench.publish("quiet")
    for _ in range(2):
        bench.publish("busy")
        bench.turn()
    assert quiet.got, "it did not wait for the end of the pass"
    bench.run()
    assert len({outlet.got for outlet in crowd}) == 1, "and disturbed it in nothing"


def test_catching_up_goes_on_beside_feeds_that_are_always_busy() -> None:
    bench = Bench()
    for _ in range(5_000):
        bench.subscribe("busy")
    bench.subscribe("a")
    bench.run()
    for _ in range(4):
        bench.publish("a", 60_000)
    bench.run()
    returned = [bench.subscribe("a", cursor=0) for _ in range(3)]
    for _ in range(20):
        bench.publish("busy")
        bench.turn()
    assert all(outlet.got > 4 * 60_000 for outlet, _ in returned)


def test_what_is_published_in_one_turn_goes_in_one_send() -> None:
    bench = Bench()
    bench.subscribe("a")
    bench.run()
    begin = bench.clock.now
    for _ in range(20):
        bench.publish("a")
    bench.run()
    assert bench.clock.now - begin == pytest.approx(SEND_SECONDS)


def test_cut_frame_whose_rest_goes_at_once_does_not_leave_its_reader_behind(
    loop: HandLoop,
) -> None:
    bench = Bench()
    stream = FakeStream(capacity=1 << 20)
    subscription = bench.attach(stream, "a")
    bench.run()
    stream.bites.append(0)  # the kernel has no room, and has room again a moment later
    bench.publish("a")
    bench.run()
    assert subscription.standing is Standing.LIVE
    bench.publish("a")
    bench.run()
    assert b'"e:2"' in stream.read(1000)


def test_who_blocks_or_leaves_in_the_middle_of_a_pass_is_served_once(loop: HandLoop) -> None:
    bench = Bench()
    crowd = [bench.subscribe("a")[0] for _ in range(2_000)]
    stream = FakeStream(capacity=1 << 20)
    last = bench.attach(stream, "a")
    leaver, leaving = bench.subscribe("a")
    bench.run()
    bench.publish("a")
    bench.turn()
    assert not crowd[-1].got, "the pass is under way"
    stream.capacity = 10
    last.sink.write(b"\x81\x14" + b"r" * 20)  # a reply that blocks it before the pass gets there
    bench.hub.detach(leaving)
    bench.run()
    assert last.standing is Standing.BEHIND and not leaver.got
    stream.capacity = 1 << 20
    received = stream.read(10)
    loop.run()
    bench.run()
    received += stream.read(10_000)
    assert received.count(b'"offset":1,') == 1 and received.startswith(b"\x81\x14" + b"r" * 20)
    assert last.standing is Standing.LIVE


def test_subscription_that_fell_off_the_ring_asks_for_history() -> None:
    bench = Bench()
    bench.subscribe("a")
    bench.run()
    for _ in range(1500):
        bench.publish("a")
        bench.run()
    _, subscription = bench.subscribe("a")
    bench.run()
    bench.hub.feeds["a"].fall_behind(subscription)
    subscription.cursor, subscription.after = 0, Position("e", 0)
    bench.hub.behind(subscription)
    bench.run()
    assert bench.off_the_ring == [subscription]


def test_feed_is_handed_back_when_the_last_has_left() -> None:
    bench = Bench()
    _, first = bench.subscribe("a")
    _, second = bench.subscribe("a")
    assert bench.hub.subscribers("a") == 2
    feed = bench.hub.feeds["a"]
    assert bench.hub.detach(first) is None
    assert bench.hub.detach(first) is None, "gone already"
    assert bench.hub.detach(second) is feed
    assert bench.hub.feeds == {} and bench.hub.subscribers("a") == 0
