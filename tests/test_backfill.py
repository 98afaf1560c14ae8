"""Asked once for everybody: feeds opened, rings warmed and pages fetched in single flights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from notifier.backfill import Backfill
from notifier.brokers.base import Receiver
from notifier.channels import Namespace, Namespaces
from notifier.counts import Counts
from notifier.errors import BrokerUnavailable
from notifier.feed import Feed
from notifier.history import History
from notifier.notification import Draft, Position, Publication
from notifier.ring import Budget
from notifier.sink import Sink
from notifier.subscription import Standing, Subscription
from notifier.tail import Start
from notifier.wire.resume import After, All
from notifier.wire.websocket import NATIVE
from tests.account import RecordingBroker
from tests.fakestream import FakeStream
from tests.handloop import HandLoop


class Bench:
    """A backfill over a broker with ten publications, and a feed."""

    def __init__(self, *, history_size: int = 100) -> None:
        self.loop = HandLoop()
        self.loop.start()
        namespaces = Namespaces(Namespace(history_size=history_size))
        self.broker = RecordingBroker(
            namespaces,
            history_bytes=1 << 20,
            max_channels=10,
            idempotency_ttl=60.0,
            max_idempotency_keys=10,
            now_ms=lambda: 1000,
        )
        self.paged: list[Subscription] = []
        self.counts = Counts()
        self.backfill = Backfill(
            self.broker, now_ms=lambda: 1000, counts=self.counts, on_page=self.paged.append
        )
        self.publish(10)

    def publish(self, count: int) -> None:
        for _ in range(count):
            number = len(self.broker.ledgers["a"].publications)
            self.loop.complete(self.broker.publish(Draft("a", f"{number}", 1000, b'"message":"m"')))

    def feed(self, *, feed_size: int = 100) -> Feed:
        feed = Feed(
            "a",
            Namespace(),
            feed_size=feed_size,
            feed_bytes=1 << 20,
            budget=Budget(1 << 30),
            counts=self.counts,
            on_dirty=lambda _: None,
            on_behind=lambda _: None,
        )
        feed.subscriptions.add(self.subscription())
        return feed

    def subscription(self) -> Subscription:
        ignore = lambda _: None  # noqa: E731
        sink = Sink(
            FakeStream(capacity=100),
            NATIVE,
            max_pending_bytes=100,
            on_blocked=ignore,
            on_drained=ignore,
            on_finished=ignore,
            traffic=self.counts.traffic["websocket"],
        )
        return Subscription("a", sink)

    def place(self, offset: int) -> Position:
        head = self.broker.ledgers["a"].head
        assert head is not None
        return Position(head.epoch, offset)

    def loading(self, offset: int) -> Subscription:
        subscription = self.subscription()
        subscription.standing = Standing.LOADING
        subscription.after = self.place(offset)
        return subscription


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.run()
    bench.loop.stop()


async def begin(bench: Bench, feed: Feed, offset: int) -> Start:
    await bench.backfill.open(feed)
    return await bench.backfill.start(feed, After(bench.place(offset)))


def test_thousand_subscribers_with_places_of_their_own_read_history_once(bench: Bench) -> None:
    feed = bench.feed()
    tasks = [bench.loop.create_task(begin(bench, feed, n % 10)) for n in range(1000)]
    bench.loop.run()
    assert bench.broker.reads == {"a": 1}
    for number, task in enumerate(tasks):
        assert task.result().position == bench.place(number % 10)
        assert task.result().gap is None and task.result().page is None, "from the ring"


def test_waiter_that_is_cancelled_does_not_cancel_the_others(bench: Bench) -> None:
    feed = bench.feed()
    bench.broker.pauses = (3, 3)
    first, second = (bench.loop.create_task(begin(bench, feed, 0)) for _ in range(2))
    while not bench.broker.reads:
        bench.loop.step()
    first.cancel()
    bench.loop.run()
    assert first.cancelled()
    assert second.result().position == bench.place(0)
    assert bench.broker.reads == {"a": 1}


def test_who_waits_is_told_that_the_broker_is_away_and_the_next_one_is_served(
    bench: Bench,
) -> None:
    feed = bench.feed()
    bench.broker.down = True
    task = bench.loop.create_task(begin(bench, feed, 0))
    bench.loop.run()
    assert isinstance(task.exception(), BrokerUnavailable)
    bench.broker.down = False
    task = bench.loop.create_task(begin(bench, feed, 0))
    bench.loop.run()
    assert task.result().position == bench.place(0)


def test_who_fell_off_waits_until_the_broker_is_back(bench: Bench) -> None:
    feed = bench.feed()
    subscription = bench.loading(3)
    bench.broker.down = True
    bench.backfill.fetch(feed, subscription)
    for _ in range(3):
        bench.loop.run()
        bench.loop.advance(1.5)
    assert bench.paged == [] and subscription.standing is Standing.LOADING
    bench.broker.down = False
    bench.loop.run()
    assert bench.paged == [subscription] and len(subscription.page) == 7


def test_who_left_while_the_broker_was_away_is_waited_for_no_more(bench: Bench) -> None:
    feed = bench.feed()
    subscription = bench.loading(3)
    bench.broker.down = True
    bench.backfill.fetch(feed, subscription)
    bench.loop.run()
    feed.leave(subscription)
    bench.loop.advance(1.5)
    bench.loop.run()
    assert bench.loop.idle and bench.broker.reads == {"a": 1}


def test_history_that_moved_on_meanwhile_is_told_as_a_gap_in_the_page(bench: Bench) -> None:
    feed = bench.feed()
    subscription = bench.loading(3)
    bench.publish(150)  # of which history keeps a hundred
    bench.backfill.fetch(feed, subscription)
    bench.loop.run()
    gap = subscription.page[0].item
    assert gap.position == bench.place(60)
    assert len(subscription.page) == 101


def test_feed_that_was_left_while_it_was_warmed_is_forgotten(bench: Bench) -> None:
    feed = bench.feed()
    task = bench.loop.create_task(begin(bench, feed, 0))
    bench.broker.pauses = (2, 2)
    while not bench.broker.reads:
        bench.loop.step()
    feed.subscriptions.clear()
    bench.backfill.abandon(feed)
    bench.loop.run()
    assert task.done()
    assert not bench.backfill._warmed and not bench.backfill._opened


def test_everything_is_read_where_the_ring_ends_by_pages(bench: Bench) -> None:
    feed = bench.feed(feed_size=4)

    async def start() -> Start:
        await bench.backfill.open(feed)
        return await bench.backfill.start(feed, All())

    task = bench.loop.create_task(start())
    bench.loop.run()
    page = task.result().page
    assert page is not None and len(page.publications) == 10


def test_close_ends_what_is_under_way(bench: Bench) -> None:
    bench.broker.down = True
    bench.backfill.fetch(bench.feed(), bench.loading(3))
    bench.loop.run()
    closing = bench.loop.create_task(bench.backfill.close())
    bench.loop.run()
    assert closing.done() and not bench.backfill._errands


class SlowToSubscribe(RecordingBroker):
    """Its answers to subscribe come when they are let go."""

    gates: list[asyncio.Event]

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        await super().subscribe(channel, receiver)


def test_late_subscribe_of_who_left_does_not_make_the_next_one_deaf(bench: Bench) -> None:
    bench.broker.__class__ = SlowToSubscribe
    broker = bench.broker
    assert isinstance(broker, SlowToSubscribe)
    broker.gates = []
    first, second = bench.feed(), bench.feed()
    bench.loop.create_task(begin(bench, first, 0))
    bench.loop.run()
    first.subscriptions.clear()
    bench.backfill.abandon(first)
    task = bench.loop.create_task(begin(bench, second, 0))
    bench.loop.run()
    for gate in broker.gates:  # the second asks only once the first is done with
        gate.set()
        bench.loop.run()
    assert task.done() and task.exception() is None
    assert broker._receivers == {"a": second}
    assert not bench.backfill._turns


def test_empty_page_brings_its_reader_to_the_head(bench: Bench) -> None:
    """All between it and the ring has expired: asking again would answer the same for ever."""
    feed = bench.feed()
    subscription = bench.loading(3)
    nothing = History("a", bench.place(3), bench.place(9), ())
    feed.turn_page(subscription, nothing)
    assert subscription.standing is Standing.BEHIND
    assert subscription.after == bench.place(9)


def test_publications_that_expired_on_the_page_are_not_delivered(bench: Bench) -> None:
    feed = bench.feed()
    subscription = bench.loading(0)
    page = [
        Publication("a", bench.place(n), f"n{n}", 0, b"", None, 5000 if n < 3 else None)
        for n in range(1, 5)
    ]
    feed.turn_page(subscription, History("a", bench.place(0), bench.place(4), page))
    feed.catch_up(subscription, now_ms=9000)
    assert [p.item.id for p in subscription.page if isinstance(p.item, Publication)] == ["n4"]
    assert subscription.after == bench.place(3), "3 was cut, and is taken; 4 is to come"


def test_reader_whose_history_fails_by_a_fault_of_ours_is_let_go_to_come_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> History:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.broker, "history", broken)
    told: list[dict[str, object]] = []
    monkeypatch.setattr(bench.loop, "call_exception_handler", told.append)
    subscription = bench.loading(3)
    bench.backfill.fetch(bench.feed(), subscription)
    bench.loop.run()
    assert subscription.sink.closed, "waiting for ever would be silence"
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError], "and it is told"
