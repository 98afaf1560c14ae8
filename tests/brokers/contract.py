"""What every broker promises (``notifier/brokers/base.py``), as tests.

A broker joins by a test module of its own with a factory and two lines::

    class TestContract(Contract):
        make = staticmethod(make_memory)

    TestAnyUse = any_use(make_memory)

Brokers may announce later than they answer; so what is delivered is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from notifier.brokers.base import PAGE_BYTES, Broker, Idempotency, Receipt
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import BadParameter, IdempotencyConflict
from notifier.history import ChannelState, History
from notifier.notification import Draft, Gap, Position, Publication
from notifier.wire.resume import After, All, Last, Latest, Since, Time

SIZE, TTL_MS = 4, 60_000
KEY_TTL_MS = 30_000
NAMESPACES = Namespaces(
    Namespace(history_size=SIZE, history_ttl=TTL_MS / 1000),
    {
        "long": Namespace(history_size=5000, history_ttl=TTL_MS / 1000),
        "live": Namespace(history_size=0),
    },
)
PATIENCE_SECONDS = 30.0
T = TypeVar("T")


class Clock:
    """The broker's clock, which stands until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_795_368_240_000

    def __call__(self) -> int:
        return self.ms


class Make(Protocol):
    """A broker with nothing in it, not yet opened."""

    def __call__(
        self, namespaces: Namespaces, *, idempotency_ttl: float, now_ms: Callable[[], int]
    ) -> Broker: ...


@dataclass(frozen=True, slots=True)
class Cleared:
    """History was deleted up to here."""

    head: Position


@dataclass
class Listener:
    """A receiver that keeps what it is told, in order."""

    heard: list[Position | Publication | Gap | Cleared | None] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, head: Position | None) -> None:
        self._hear(head)

    def publication(self, publication: Publication) -> None:
        self._hear(publication)

    def gap(self, gap: Gap) -> None:
        self._hear(gap)

    def cleared(self, head: Position) -> None:
        self._hear(Cleared(head))

    def _hear(self, item: Position | Publication | Gap | Cleared | None) -> None:
        self.heard.append(item)
        self.news.set()

    @property
    def ids(self) -> list[str]:
        return [item.id for item in self.heard if isinstance(item, Publication)]

    async def has(self, ids: Sequence[str]) -> None:
        """Wait for these and no others."""
        await self._until(lambda: len(self.ids) >= len(ids))
        assert self.ids == list(ids)

    async def hears(self, items: Sequence[object]) -> None:
        """Wait for all of these, and nothing else, in this order."""
        await self._until(lambda: len(self.heard) >= len(items))
        assert self.heard == list(items)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.news.clear()
                await self.news.wait()


@dataclass
class Midwife:
    """A watcher that has an answer for some channels, and keeps what it was asked."""

    answers: dict[str, Listener] = field(default_factory=dict)
    births: list[tuple[str, Position | None]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def born(self, channel: str, head: Position | None) -> Listener | None:
        self.births.append((channel, head))
        self.news.set()
        answer = self.answers.get(channel)
        assert answer is None or not answer.ids, "it is asked before anything is delivered"
        return answer

    async def was_told(self, births: Sequence[tuple[str, Position | None]]) -> None:
        """Wait for these and no others."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.births) < len(births):
                self.news.clear()
                await self.news.wait()
        assert self.births == list(births)


@dataclass
class Bench:
    """A broker at work, and its clock."""

    broker: Broker
    clock: Clock
    published: int = 0

    async def publish(
        self,
        channel: str = "a",
        *,
        key: str | None = None,
        body: bytes = b'"message":"x"',
        expires_in_ms: int | None = None,
        card: str | None = "card",
    ) -> Receipt:
        self.published += 1
        now_ms = self.clock.ms
        expires_ms = None if expires_in_ms is None else now_ms + expires_in_ms
        draft = Draft(channel, f"n{self.published}", now_ms, body, card, expires_ms)
        idempotency = None if key is None else Idempotency(f"{channel}\n{key}", body[:16])
        return await self.broker.publish(draft, idempotency)

    async def history(
        self, since: Since | None = None, *, channel: str = "a", limit: int = 1000
    ) -> History:
        return await self.broker.history(channel, since or All(), limit)

    async def offsets(self, since: Since | None = None, *, channel: str = "a") -> list[int]:
        return offsets_of((await self.history(since, channel=channel)).publications)

    async def names(self, pattern: str = "*", *, after: str = "", limit: int = 100) -> list[str]:
        found = await self.broker.channels(Pattern.parse(pattern), after, limit)
        return [state.channel for state in found]


def place(receipt: Receipt) -> Position:
    assert receipt.position is not None
    return receipt.position


def offset_of(publication: Publication) -> int:
    assert publication.position is not None
    return publication.position.offset


def offsets_of(publications: Sequence[Publication]) -> list[int]:
    return [offset_of(publication) for publication in publications]


class Contract:
    """The promises, one by one."""

    make: Make

    @pytest.fixture
    async def bench(self) -> Any:
        clock = Clock()
        broker = self.make(NAMESPACES, idempotency_ttl=KEY_TTL_MS / 1000, now_ms=clock)
        await broker.open()
        yield Bench(broker, clock)
        await broker.close()

    async def test_a_broker_that_calls_itself_prompt_has_nobody_wait(self, bench: Bench) -> None:
        """What waits is begun within a task, so that timeouts know whom to wake."""
        publishing = bench.publish()
        if not bench.broker.prompt:
            await publishing
            return
        with pytest.raises(StopIteration):
            publishing.send(None)

    # --- offsets and epochs ---

    async def test_open_broker_has_no_trouble(self, bench: Bench) -> None:
        assert bench.broker.trouble is None

    async def test_offsets_begin_at_one_and_grow_by_one(self, bench: Bench) -> None:
        places = [place(await bench.publish()) for _ in range(3 * SIZE)]
        assert [position.offset for position in places] == list(range(1, 3 * SIZE + 1))
        assert len({position.epoch for position in places}) == 1

    async def test_channels_count_for_themselves(self, bench: Bench) -> None:
        for channel in ("a", "b", "a:b", "größe", "a"):
            await bench.publish(channel)
        assert await bench.offsets(channel="a") == [1, 2]
        for channel in ("b", "a:b", "größe"):
            assert await bench.offsets(channel=channel) == [1]

    async def test_publications_at_once_have_an_order(self, bench: Bench) -> None:
        receipts = await asyncio.gather(*(bench.publish("long:a") for _ in range(100)))
        assert sorted(place(receipt).offset for receipt in receipts) == list(range(1, 101))
        page = await bench.history(channel="long:a")
        told = {receipt.id: receipt.position for receipt in receipts}
        assert {p.id: p.position for p in page.publications} == told

    async def test_epoch_and_counter_outlive_the_history(self, bench: Bench) -> None:
        first = place(await bench.publish())
        bench.clock.ms += 29 * 86_400_000
        assert await bench.offsets() == []
        assert (await bench.history()).head == first
        assert place(await bench.publish()) == Position(first.epoch, 2)

    async def test_publication_is_stored_as_it_was_published(self, bench: Bench) -> None:
        body = '"message":"h\u00e9 \\u0000 😀","data":[1,{"a":null}]'.encode()
        receipt = await bench.publish("größe:a", body=body, expires_in_ms=1000)
        assert not receipt.repeated
        (stored,) = (await bench.history(channel="größe:a")).publications
        assert stored == Publication(
            "größe:a",
            receipt.position,
            "n1",
            bench.clock.ms,
            body,
            "card",
            bench.clock.ms + 1000,
        )

    # --- delivery ---

    async def test_receiver_is_told_the_head_first_and_then_all_that_follows(
        self, bench: Bench
    ) -> None:
        before = place(await bench.publish())
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        for _ in range(3 * SIZE):
            await bench.publish()
            await bench.publish("b")
        await listener.has([f"n{n}" for n in range(2, 2 + 6 * SIZE, 2)])
        assert listener.heard[0] == before
        assert [item.position for item in listener.heard[1:] if isinstance(item, Publication)] == [
            Position(before.epoch, n) for n in range(2, 2 + 3 * SIZE)
        ]

    async def test_receiver_gets_what_history_shows(self, bench: Bench) -> None:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        for _ in range(SIZE):
            await bench.publish(expires_in_ms=5000)
        await listener.has([f"n{n}" for n in range(1, SIZE + 1)])
        assert listener.heard[1:] == list((await bench.history()).publications)

    async def test_head_told_before_the_first_publication_is_where_it_begins(
        self, bench: Bench
    ) -> None:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        (head,) = listener.heard
        assert isinstance(head, Position)
        assert head.offset == 0
        assert place(await bench.publish()) == Position(head.epoch, 1)
        page = await bench.history(After(head))
        assert (page.gap, offsets_of(page.publications)) == (None, [1])

    async def test_who_unsubscribed_hears_no_more(self, bench: Bench) -> None:
        listener, other = Listener(), Listener()
        await bench.broker.subscribe("a", listener)
        await bench.broker.subscribe("b", other)
        await bench.broker.unsubscribe("a", listener)
        await bench.publish()
        await bench.publish("b")
        await other.has(["n2"])
        assert listener.ids == []

    async def test_who_is_not_the_receiver_any_more_ends_nothing(self, bench: Bench) -> None:
        first, second = Listener(), Listener()
        await bench.broker.subscribe("a", first)
        await bench.broker.unsubscribe("a", first)
        await bench.broker.subscribe("a", second)
        await bench.broker.unsubscribe("a", first)
        await bench.broker.unsubscribe("nobody", first)
        await bench.publish()
        await second.has(["n1"])

    async def test_who_comes_back_goes_on_from_the_head(self, bench: Bench) -> None:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        await bench.publish()
        await listener.has(["n1"])
        await bench.broker.unsubscribe("a", listener)
        missed = place(await bench.publish())
        await bench.broker.subscribe("a", listener)
        await bench.publish()
        await listener.has(["n1", "n3"])
        assert missed in listener.heard

    # --- history ---

    async def test_history_nobody_wrote_is_empty_and_whole(self, bench: Bench) -> None:
        page = await bench.history()
        assert page.head is not None
        assert (page.head.offset, page.publications, page.gap, page.more) == (0, [], None, False)
        again = await bench.history(After(page.head))
        assert again.gap is None
        assert again.head == page.head

    async def test_only_so_many_are_kept(self, bench: Bench) -> None:
        for _ in range(3 * SIZE):
            await bench.publish()
        assert await bench.offsets() == list(range(2 * SIZE + 1, 3 * SIZE + 1))

    async def test_only_so_long_are_they_kept(self, bench: Bench) -> None:
        await bench.publish()
        bench.clock.ms += TTL_MS // 2
        await bench.publish()
        bench.clock.ms += TTL_MS // 2 - 1
        assert await bench.offsets() == [1, 2]
        bench.clock.ms += 1
        assert await bench.offsets() == [2]

    async def test_trimmed_is_a_gap_to_who_needed_it_and_to_nobody_else(self, bench: Bench) -> None:
        places = [place(await bench.publish()) for _ in range(SIZE + 2)]
        for missed in (places[0], replace(places[0], offset=0)):
            page = await bench.history(After(missed))
            assert page.gap == Gap("a", after=missed, before=places[2])
            assert offsets_of(page.publications) == list(range(3, SIZE + 3))
        page = await bench.history(After(places[1]))
        assert page.gap is None
        assert page.start == places[1]

    async def test_expired_by_its_own_time_is_a_hole_and_no_gap(self, bench: Bench) -> None:
        start = replace(place(await bench.publish()), offset=0)
        await bench.publish(expires_in_ms=1000)
        await bench.publish()
        bench.clock.ms += 999
        assert await bench.offsets() == [1, 2, 3]
        bench.clock.ms += 1
        page = await bench.history(After(start))
        assert page.gap is None
        assert offsets_of(page.publications) == [1, 3]

    async def test_expired_before_it_was_too_old_is_no_gap(self, bench: Bench) -> None:
        first = place(await bench.publish(expires_in_ms=1000))
        bench.clock.ms += TTL_MS
        page = await bench.history(After(replace(first, offset=0)))
        assert (page.gap, page.publications) == (None, [])

    async def test_position_beyond_the_head_or_of_another_epoch_is_a_gap(
        self, bench: Bench
    ) -> None:
        head = place(await bench.publish())
        beyond = Position(head.epoch, 7)
        page = await bench.history(After(beyond))
        assert page.gap == Gap("a", after=beyond, before=Position(head.epoch, 2))
        assert page.publications == []
        foreign = Position("another", 1)
        page = await bench.history(After(foreign))
        assert page.gap == Gap("a", after=foreign, before=head)
        assert offsets_of(page.publications) == [1]

    async def test_pages_follow_each_other_without_a_break(self, bench: Bench) -> None:
        for _ in range(25):
            await bench.publish("long:a")
        seen: list[int] = []
        since: Since = All()
        for size in (10, 10, 5):
            page = await bench.history(since, channel="long:a", limit=10)
            assert (len(page.publications), page.gap) == (size, None)
            assert page.more == (size == 10)
            seen += offsets_of(page.publications)
            position = page.publications[-1].position
            assert position is not None
            since = After(position)
        assert seen == list(range(1, 26))

    async def test_page_that_ends_with_the_last_has_no_more(self, bench: Bench) -> None:
        for _ in range(3):
            await bench.publish()
        await bench.publish(expires_in_ms=1)
        bench.clock.ms += 1
        page = await bench.history(limit=3)
        assert (offsets_of(page.publications), page.more) == ([1, 2, 3], False)

    async def test_page_is_bounded_in_bytes_and_holds_one_at_least(self, bench: Bench) -> None:
        for size in (PAGE_BYTES * 2, PAGE_BYTES // 2, PAGE_BYTES // 3, PAGE_BYTES // 3):
            await bench.publish(body=b'"message":"' + b"x" * size + b'"')
        page = await bench.history()
        assert (offsets_of(page.publications), page.more) == ([1], True)
        position = page.publications[-1].position
        assert position is not None
        page = await bench.history(After(position))
        assert (offsets_of(page.publications), page.more) == ([2, 3], True)

    async def test_complete_says_whether_older_ones_are_left(self, bench: Bench) -> None:
        for _ in range(3):
            await bench.publish()
        assert (await bench.history(All())).complete
        assert not (await bench.history(Last(2))).complete

    # --- history, backwards and in part ---

    async def test_newest_come_first_where_they_are_asked_for_first(self, bench: Bench) -> None:
        for _ in range(SIZE):
            await bench.publish()
        page = await bench.broker.history("a", All(), 3, newest_first=True)
        assert (offsets_of(page.publications), page.more) == ([4, 3, 2], True)
        page = await bench.broker.history("a", Last(2), 3, newest_first=True)
        assert (offsets_of(page.publications), page.more) == ([4, 3], False)

    async def test_pages_backwards_follow_each_other_without_a_break(self, bench: Bench) -> None:
        for _ in range(25):
            await bench.publish("long:a")
        seen: list[int] = []
        before: Position | None = None
        for size in (10, 10, 5):
            page = await bench.broker.history("long:a", All(), 10, before=before, newest_first=True)
            assert (len(page.publications), page.more) == (size, size == 10)
            seen += offsets_of(page.publications)
            before = page.publications[-1].position
        assert seen == list(range(25, 0, -1))

    async def test_only_what_is_between_since_and_before_is_shown(self, bench: Bench) -> None:
        places = [place(await bench.publish()) for _ in range(SIZE)]
        for newest_first in (False, True):
            page = await bench.broker.history(
                "a", After(places[0]), 10, before=places[3], newest_first=newest_first
            )
            assert sorted(offsets_of(page.publications)) == [2, 3]
            assert (page.gap, page.more) == (None, False)
            nothing = await bench.broker.history(
                "a", All(), 10, before=places[0], newest_first=newest_first
            )
            assert (nothing.publications, nothing.more) == ([], False)

    async def test_before_may_lie_beyond_the_head(self, bench: Bench) -> None:
        head = place(await bench.publish())
        page = await bench.broker.history("a", All(), 10, before=Position(head.epoch, 10**20))
        assert offsets_of(page.publications) == [1]

    async def test_before_of_another_epoch_is_refused(self, bench: Bench) -> None:
        await bench.publish()
        for channel in ("a", "never"):
            with pytest.raises(BadParameter) as caught:
                await bench.broker.history(channel, All(), 10, before=Position("another", 1))
            assert caught.value.field == "before"

    async def test_only_publications_with_the_key_are_shown_where_one_is_given(
        self, bench: Bench
    ) -> None:
        for card in ("x", "y", None, "x", "y", "x"):
            await bench.publish("long:a", card=card)
        for newest_first, offsets in ((False, [1, 4, 6]), (True, [6, 4, 1])):
            page = await bench.broker.history(
                "long:a", All(), 10, key="x", newest_first=newest_first
            )
            assert (offsets_of(page.publications), page.more) == (offsets, False)
        page = await bench.broker.history("long:a", All(), 2, key="x")
        assert (offsets_of(page.publications), page.more) == ([1, 4], True)
        page = await bench.broker.history("long:a", All(), 2, key="z")
        assert (list(page.publications), page.more) == ([], False)

    async def test_trimmed_and_expired_are_not_shown_backwards_either(self, bench: Bench) -> None:
        await bench.publish()
        bench.clock.ms += TTL_MS // 2
        for expires_in_ms in (None, 1000, None):
            await bench.publish(expires_in_ms=expires_in_ms)
        bench.clock.ms += TTL_MS // 2
        page = await bench.broker.history("a", All(), 10, newest_first=True)
        assert offsets_of(page.publications) == [4, 2]

    # --- clearing ---

    async def test_cleared_is_gone_and_counted(self, bench: Bench) -> None:
        for expires_in_ms in (None, 1000, None):
            await bench.publish(expires_in_ms=expires_in_ms)
        await bench.publish("b")
        bench.clock.ms += 1000
        assert await bench.broker.clear("a") == 2
        assert (await bench.offsets(), await bench.offsets(channel="b")) == ([], [1])
        assert await bench.broker.clear("a") == 0

    async def test_offsets_go_on_and_the_epoch_stays_after_clearing(self, bench: Bench) -> None:
        first = place(await bench.publish())
        await bench.broker.clear("a")
        assert (await bench.history()).head == first
        assert place(await bench.publish()) == Position(first.epoch, 2)
        assert await bench.offsets() == [2]

    async def test_who_needs_what_was_cleared_has_a_gap_and_nobody_else(self, bench: Bench) -> None:
        places = [place(await bench.publish()) for _ in range(3)]
        await bench.broker.clear("a")
        await bench.publish()
        page = await bench.history(After(places[0]))
        assert page.gap == Gap("a", after=places[0], before=Position(places[0].epoch, 4))
        assert offsets_of(page.publications) == [4]
        page = await bench.history(After(places[2]))
        assert (page.gap, offsets_of(page.publications)) == (None, [4])

    async def test_clearing_a_hole_takes_nothing_from_anybody(self, bench: Bench) -> None:
        first = place(await bench.publish())
        await bench.publish(expires_in_ms=1000)
        bench.clock.ms += 1000
        assert await bench.broker.clear("a") == 1
        assert (await bench.history(After(first))).gap is None
        assert (await bench.history(After(replace(first, offset=0)))).gap is not None

    async def test_receiver_is_told_of_the_clearing_in_its_place(self, bench: Bench) -> None:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        await asyncio.gather(bench.publish(), bench.broker.clear("a"), bench.publish())
        await listener.has(["n1", "n2"])
        _, first, cleared, second = listener.heard
        assert isinstance(first, Publication) and isinstance(second, Publication)
        assert first.position is not None
        assert cleared == Cleared(first.position)
        assert await bench.offsets() == [2]

    async def test_clearing_what_never_was_does_nothing(self, bench: Bench) -> None:
        listener = Listener()
        for channel in ("a", "live:a"):
            await bench.broker.subscribe(channel, listener)
            assert await bench.broker.clear(channel) == 0
        assert await bench.broker.clear("never") == 0
        assert not any(isinstance(item, Cleared) for item in listener.heard)

    async def test_repeat_is_known_though_the_history_was_cleared(self, bench: Bench) -> None:
        first = await bench.publish(key="k")
        await bench.broker.clear("a")
        assert await bench.publish(key="k") == replace(first, repeated=True)
        assert await bench.offsets() == []

    # --- channels ---

    async def test_channel_tells_what_history_holds_of_it(self, bench: Bench) -> None:
        for n in range(SIZE + 1):
            head = place(await bench.publish(body=b"x" * n))
            bench.clock.ms += 1
        publications = (await bench.history()).publications
        assert await bench.broker.channel("a") == ChannelState(
            "a", head, SIZE, sum(p.size for p in publications), bench.clock.ms - 1
        )

    async def test_channel_does_not_count_what_time_has_run_out_for(self, bench: Bench) -> None:
        await bench.publish()
        bench.clock.ms += TTL_MS // 2
        await bench.publish()
        head = place(await bench.publish(expires_in_ms=TTL_MS // 2))
        (_, kept, _) = (await bench.history()).publications
        bench.clock.ms += TTL_MS // 2
        state = await bench.broker.channel("a")
        assert state == ChannelState("a", head, 1, kept.size, kept.time_ms)
        bench.clock.ms += TTL_MS
        assert await bench.broker.channel("a") == ChannelState("a", head, 0, 0, None)

    async def test_cleared_channel_is_still_there(self, bench: Bench) -> None:
        head = place(await bench.publish())
        await bench.broker.clear("a")
        assert await bench.broker.channel("a") == ChannelState("a", head, 0, 0, None)
        assert await bench.names() == ["a"]

    async def test_channel_nobody_published_to_is_none(self, bench: Bench) -> None:
        await bench.broker.subscribe("heard", Listener())
        await bench.history(channel="read")
        await bench.publish("live:a")
        for channel in ("heard", "read", "live:a", "never"):
            assert await bench.broker.channel(channel) is None
        assert await bench.names() == []

    async def test_channels_are_in_the_order_of_their_code_points(self, bench: Bench) -> None:
        # The last two are the other way round in UTF-16.
        names = ["Z", "a", "a:b", "a:b:c", "ab", "b", "größe", "ß", "ﬀ", "𐐀"]
        for name in reversed(names):
            await bench.publish(name)
        assert await bench.names() == names == sorted(names)
        for start in range(len(names) + 1):
            after = names[start - 1] if start else ""
            assert await bench.names(after=after, limit=3) == names[start : start + 3]
        assert await bench.names(after="a:") == names[2:]

    async def test_channels_are_those_that_match(self, bench: Bench) -> None:
        for name in ("builds", "builds:1", "builds:1:log", "builds:2", "other:1", "x:builds:1"):
            await bench.publish(name)
        assert await bench.names("builds:*") == ["builds:1", "builds:1:log", "builds:2"]
        assert await bench.names("*:1") == ["builds:1", "other:1", "x:builds:1"]
        assert await bench.names("builds:*:log") == ["builds:1:log"]
        assert await bench.names("builds:*", after="builds:1", limit=1) == ["builds:1:log"]
        assert await bench.names("builds:*", after="c") == []
        assert await bench.names("builds:*", after="a") == ["builds:1", "builds:1:log", "builds:2"]

    async def test_channels_tell_the_same_as_each_by_itself(self, bench: Bench) -> None:
        for name in ("a", "b", "c"):
            await bench.publish(name, expires_in_ms=1000 if name == "b" else None)
        bench.clock.ms += 1000
        found = await bench.broker.channels(Pattern.parse("*"), "", 10)
        assert list(found) == [await bench.broker.channel(name) for name in ("a", "b", "c")]

    # --- births ---

    async def test_watcher_is_asked_before_the_first_publication_and_never_again(
        self, bench: Bench
    ) -> None:
        midwife = Midwife()
        bench.broker.watch(midwife)
        first = place(await bench.publish())
        await bench.publish()
        await bench.broker.clear("a")
        await bench.publish()
        other = place(await bench.publish("b"))
        await midwife.was_told([("a", replace(first, offset=0)), ("b", replace(other, offset=0))])

    async def test_adopted_receiver_is_begun_and_hears_all_from_the_first(
        self, bench: Bench
    ) -> None:
        listener = Listener()
        bench.broker.watch(Midwife({"a": listener}))
        receipts = await asyncio.gather(*(bench.publish() for _ in range(3)))
        await listener.has(["n1", "n2", "n3"])
        assert listener.heard[0] == replace(place(receipts[0]), offset=0)
        assert len(listener.heard) == 4
        await bench.broker.subscribe("a", listener)  # it is the receiver already
        await bench.broker.unsubscribe("a", listener)
        await bench.publish()
        assert len(listener.heard) == 4

    async def test_receiver_that_was_there_is_not_begun_twice(self, bench: Bench) -> None:
        listener = Listener()
        midwife = Midwife({"a": listener})
        bench.broker.watch(midwife)
        await bench.broker.subscribe("a", listener)
        first = place(await bench.publish())
        await listener.has(["n1"])
        assert listener.heard[0] == replace(first, offset=0)
        assert len(listener.heard) == 2
        assert len(midwife.births) == 1

    async def test_receiver_is_begun_once_though_it_subscribes_during_the_birth(
        self, bench: Bench
    ) -> None:
        listener = Listener()
        bench.broker.watch(Midwife({"a": listener}))
        await asyncio.gather(
            bench.publish(), bench.broker.subscribe("a", listener), bench.publish()
        )
        await listener.has(["n1", "n2"])
        assert [type(item) for item in listener.heard] == [Position, Publication, Publication]

    async def test_who_was_there_stays_where_nobody_else_wants_it(self, bench: Bench) -> None:
        listener = Listener()
        bench.broker.watch(Midwife())
        await bench.broker.subscribe("a", listener)
        await bench.publish()
        await listener.has(["n1"])

    async def test_ephemeral_channel_is_born_whenever_nobody_hears_it(self, bench: Bench) -> None:
        midwife, listener = Midwife(), Listener()
        bench.broker.watch(midwife)
        await bench.broker.follow(Pattern.parse("live:*"))
        await bench.publish("live:a")
        await bench.publish("live:a", key="k")
        await bench.publish("live:a", key="k")  # a repeat is not announced
        await midwife.was_told([("live:a", None)] * 2)
        midwife.answers["live:a"] = listener
        await bench.publish("live:a")
        await bench.publish("live:a")
        await listener.has(["n4", "n5"])
        assert midwife.births == [("live:a", None)] * 3
        assert listener.heard[0] is None
        await bench.broker.unsubscribe("live:a", listener)
        midwife.answers.clear()
        await bench.publish("live:a")
        await midwife.was_told([("live:a", None)] * 4)
        bench.broker.unfollow(Pattern.parse("live:*"))

    # --- at once ---

    async def test_publications_of_one_caller_are_in_the_order_of_its_calls(
        self, bench: Bench
    ) -> None:
        names = ["long:a", "long:b", "live:a"] * 50
        listeners = {name: Listener() for name in set(names)}
        for name, listener in listeners.items():
            await bench.broker.subscribe(name, listener)
        receipts = await asyncio.gather(*(bench.publish(name) for name in names))
        for name, listener in listeners.items():
            mine = [receipt for receipt, of in zip(receipts, names, strict=True) if of == name]
            if not name.startswith("live:"):
                assert [place(receipt).offset for receipt in mine] == list(range(1, 51))
            await listener.has([receipt.id for receipt in mine])

    @pytest.mark.parametrize("turn", [0, 1, 7, 19, 20])
    async def test_who_subscribes_among_publications_has_its_exact_place(
        self, bench: Bench, turn: int
    ) -> None:
        listener = Listener()
        calls: list[Awaitable[Any]] = [bench.publish("long:a") for _ in range(20)]
        calls.insert(turn, bench.broker.subscribe("long:a", listener))
        await asyncio.gather(*calls)
        await bench.publish("long:a")
        head = listener.heard[0]
        assert isinstance(head, Position)
        await listener.has([f"n{n}" for n in range(head.offset + 1, 22)])
        page = await bench.history(After(head), channel="long:a")
        assert page.gap is None
        assert listener.heard[1:] == list(page.publications)

    async def test_who_gives_up_subscribing_is_no_receiver(self, bench: Bench) -> None:
        listener = Listener()
        subscribing = asyncio.create_task(bench.broker.subscribe("a", listener))
        await asyncio.sleep(0)
        subscribing.cancel()
        await asyncio.gather(subscribing, return_exceptions=True)
        if subscribing.cancelled():
            await bench.publish()
            await bench.publish()
            assert listener.heard == []

    # --- idempotency ---

    async def test_repeat_answers_what_the_first_answered_and_stores_nothing(
        self, bench: Bench
    ) -> None:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        first = await bench.publish(key="k")
        again = await bench.publish(key="k")
        assert again == replace(first, repeated=True)
        await bench.publish()
        await listener.has(["n1", "n3"])
        assert await bench.offsets() == [1, 2]

    async def test_repeats_at_once_store_once(self, bench: Bench) -> None:
        receipts = await asyncio.gather(*(bench.publish(key="k") for _ in range(20)))
        assert len({receipt.position for receipt in receipts}) == 1
        assert sum(not receipt.repeated for receipt in receipts) == 1
        assert await bench.offsets() == [1]

    async def test_same_key_with_another_body_is_refused_and_stores_nothing(
        self, bench: Bench
    ) -> None:
        await bench.publish(key="k")
        with pytest.raises(IdempotencyConflict):
            await bench.publish(key="k", body=b'"title":"y"')
        assert await bench.offsets() == [1]
        assert (await bench.publish(key="k")).repeated

    async def test_key_is_kept_for_its_time_and_no_longer(self, bench: Bench) -> None:
        first = await bench.publish(key="k")
        bench.clock.ms += KEY_TTL_MS - 1
        assert (await bench.publish(key="k")).repeated
        bench.clock.ms += 1
        anew = await bench.publish(key="k", body=b'"title":"y"')
        assert not anew.repeated
        assert place(anew).offset == place(first).offset + 1

    async def test_repeat_is_known_though_the_publication_is_gone(self, bench: Bench) -> None:
        first = await bench.publish(key="k")
        for _ in range(2 * SIZE):
            await bench.publish()
        assert await bench.publish(key="k") == replace(first, repeated=True)

    # --- ephemeral channels ---

    async def test_ephemeral_channel_is_delivered_in_order_and_not_kept(self, bench: Bench) -> None:
        listener = Listener()
        await bench.broker.subscribe("live:a", listener)
        receipts = [await bench.publish("live:a") for _ in range(5)]
        await listener.has(["n1", "n2", "n3", "n4", "n5"])
        assert {receipt.position for receipt in receipts} == {None}
        assert listener.heard[0] is None
        for since in (All(), Last(3), After(Position("e", 1)), Time(0), Latest()):
            page = await bench.history(since, channel="live:a")
            assert (page.head, page.start, list(page.publications)) == (None, None, [])
            assert (page.gap, page.more) == (None, False)

    async def test_ephemeral_publication_is_repeated_once_per_key_too(self, bench: Bench) -> None:
        first = await bench.publish("live:a", key="k")
        assert await bench.publish("live:a", key="k") == replace(first, repeated=True)


# --- any order of events ---


@dataclass
class Log:
    """All that was ever published to one channel."""

    entries: list[Publication] = field(default_factory=list)
    epoch: str | None = None
    listener: Listener | None = None
    due: list[Position | Publication | Cleared] = field(default_factory=list)
    cleared: int = 0
    used_ms: int = 0

    def may_be_lost(self, offset: int, now_ms: int) -> bool:
        entry = self.entries[offset - 1]
        return (
            offset <= len(self.entries) - SIZE
            or offset <= self.cleared
            or entry.time_ms <= now_ms - TTL_MS
        )


CHANNELS = st.sampled_from(["a", "b"])
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])
BODIES = st.sampled_from([b'"message":"x"', b'"message":"y"'])
SINCES = st.one_of(
    st.sampled_from([Latest(), All()]),
    st.integers(1, 2 * SIZE).map(Last),
)


def any_use(make: Make) -> type[Any]:
    """The promises under any order of events, against a log that is nothing but a list."""

    class AnyUse(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.loop = asyncio.new_event_loop()
            self.clock = Clock()
            self.logs = {"a": Log(), "b": Log()}
            self.keys: dict[tuple[str, str], tuple[bytes, Receipt, int]] = {}

        @initialize()
        def open(self) -> None:
            self.broker = make(NAMESPACES, idempotency_ttl=KEY_TTL_MS / 1000, now_ms=self.clock)
            self.bench = Bench(self.broker, self.clock)
            self.run(self.broker.open())

        def teardown(self) -> None:
            self.run(self.broker.close())
            self.loop.close()

        def run(self, awaitable: Awaitable[T]) -> T:
            async def wait() -> T:
                return await awaitable

            return self.loop.run_until_complete(wait())

        @rule(
            channel=CHANNELS,
            key=KEYS,
            body=BODIES,
            expires_in_ms=st.none() | st.integers(1, TTL_MS + 10),
        )
        def publish(
            self, channel: str, key: str | None, body: bytes, expires_in_ms: int | None
        ) -> None:
            log = self.logs[channel]
            publish = self.bench.publish(channel, key=key, body=body, expires_in_ms=expires_in_ms)
            known = None if key is None else self.keys.get((channel, key))
            if known is not None and known[2] > self.clock.ms:
                fingerprint, first, _ = known
                if fingerprint != body:
                    with pytest.raises(IdempotencyConflict):
                        self.run(publish)
                else:
                    assert self.run(publish) == replace(first, repeated=True)
                return
            receipt = self.run(publish)
            position = place(receipt)
            self.check_head(log, replace(position, offset=position.offset - 1))
            assert not receipt.repeated
            expires_ms = None if expires_in_ms is None else self.clock.ms + expires_in_ms
            publication = Publication(
                channel, position, receipt.id, self.clock.ms, body, "card", expires_ms
            )
            log.entries.append(publication)
            log.due.append(publication)
            log.used_ms = self.clock.ms
            if key is not None:
                self.keys[channel, key] = (body, receipt, self.clock.ms + KEY_TTL_MS)

        @rule(channel=CHANNELS, count=st.integers(1, 2 * SIZE))
        def publish_many(self, channel: str, count: int) -> None:
            for _ in range(count):
                self.publish(channel, None, b'"message":"z"', None)

        @rule(ms=st.sampled_from([1, 1000, KEY_TTL_MS - 1, KEY_TTL_MS, TTL_MS, 20 * 86_400_000]))
        def wait(self, ms: int) -> None:
            self.clock.ms += ms

        @rule(channel=CHANNELS)
        def subscribe_or_leave(self, channel: str) -> None:
            log = self.logs[channel]
            if log.listener is not None:
                self.check_heard(channel)
                self.run(self.broker.unsubscribe(channel, log.listener))
                log.listener, log.used_ms = None, self.clock.ms
                return
            log.listener = Listener()
            self.run(self.broker.subscribe(channel, log.listener))
            head = log.listener.heard[0]
            assert isinstance(head, Position)
            self.check_head(log, head)
            log.due = [head]

        @rule(channel=CHANNELS)
        def clear(self, channel: str) -> None:
            log = self.logs[channel]
            _, offsets = self.read_all(channel, All(), SIZE + 1)
            assert self.run(self.broker.clear(channel)) == len(offsets)
            if log.entries:
                log.due.append(Cleared(Position(log.epoch or "", len(log.entries))))
            log.cleared = max([log.cleared, *offsets])
            assert self.read_all(channel, All(), SIZE + 1)[1] == []

        @precondition(lambda self: all(self.remembered(log) for log in self.logs.values()))
        @rule()
        def sweep(self) -> None:
            async def sweep() -> None:
                self.broker.sweep()

            self.run(sweep())

        @rule(channel=CHANNELS)
        def check_heard(self, channel: str) -> None:
            log = self.logs[channel]
            if log.listener is not None:
                self.run(log.listener.hears(log.due))

        @rule()
        def list_channels(self) -> None:
            found = self.run(self.broker.channels(Pattern.parse("*"), "", 10))
            assert [state.channel for state in found] == [
                name for name, log in self.logs.items() if log.entries
            ]
            for state in found:
                log = self.logs[state.channel]
                self.check_head(log, state.head)
                _, offsets = self.read_all(state.channel, All(), SIZE + 1)
                kept = [log.entries[offset - 1] for offset in offsets]
                assert (state.publications, state.size) == (len(kept), sum(p.size for p in kept))
                assert state.time_ms == (kept[-1].time_ms if kept else None)

        @rule(channel=CHANNELS, data=st.data(), limit=st.integers(1, SIZE + 1))
        def read_backwards(self, channel: str, data: st.DataObject, limit: int) -> None:
            log = self.logs[channel]
            page, offsets = self.read_all(channel, All(), SIZE + 1)
            stop = data.draw(st.none() | st.integers(0, len(log.entries) + 2))
            before = None if stop is None else Position(log.epoch or "", stop)
            wanted = [n for n in reversed(offsets) if stop is None or n < stop]
            seen: list[int] = []
            more = True
            while more:
                page = self.run(
                    self.broker.history(channel, All(), limit, before=before, newest_first=True)
                )
                seen += offsets_of(page.publications)
                more = page.more
                if more:
                    before = page.publications[-1].position
            assert seen == wanted

        @rule(channel=CHANNELS, since=SINCES, limit=st.integers(1, SIZE + 1))
        def read(self, channel: str, since: Since, limit: int) -> None:
            page, offsets = self.read_all(channel, since, limit)
            log = self.logs[channel]
            now_ms, head = self.clock.ms, len(log.entries)
            surely = [
                n
                for n in range(1, head + 1)
                if not log.may_be_lost(n, now_ms) and not log.entries[n - 1].expired(now_ms)
            ]
            match since:
                case Latest():
                    assert (page.gap, offsets) == (None, [])
                case All():
                    assert page.gap is None
                    assert offsets[len(offsets) - len(surely) :] == surely
                case Last(count):
                    assert len(offsets) <= count
                    assert set(surely[-count:]) <= set(offsets)
                    if len(offsets) == count:
                        assert page.gap is None
                    elif page.gap is None:  # then there never were more
                        assert len(offsets) == sum(not e.expired(now_ms) for e in log.entries)
                    else:
                        assert any(log.may_be_lost(n, now_ms) for n in range(1, head + 1))

        @rule(channel=CHANNELS, data=st.data(), limit=st.integers(1, SIZE + 1))
        def read_after(self, channel: str, data: st.DataObject, limit: int) -> None:
            log, now_ms = self.logs[channel], self.clock.ms
            head = len(log.entries)
            epoch = data.draw(st.sampled_from([log.epoch or "unseen", "foreign"]))
            offset = data.draw(st.integers(0, head + 2))
            position = Position(epoch, offset)
            page, _ = self.read_all(channel, After(position), limit)
            if epoch != log.epoch or offset > head:
                assert page.gap is not None
            elif page.gap is None:
                assert page.start == position
            else:
                assert page.start is not None
                assert any(
                    log.may_be_lost(n, now_ms) for n in range(offset + 1, page.start.offset + 1)
                )
            if page.gap is not None:
                assert page.gap.after == position

        @rule(channel=CHANNELS, back_ms=st.integers(0, 2 * TTL_MS), limit=st.integers(1, SIZE + 1))
        def read_from_time(self, channel: str, back_ms: int, limit: int) -> None:
            log, now_ms = self.logs[channel], self.clock.ms
            time_ms = now_ms - back_ms
            page, offsets = self.read_all(channel, Time(time_ms), limit)
            wanted = [n for n, e in enumerate(log.entries, 1) if e.time_ms >= time_ms]
            assert set(offsets) <= set(wanted)
            if page.gap is None:
                assert offsets == [n for n in wanted if not log.entries[n - 1].expired(now_ms)]
            else:
                assert page.gap.after is None
                assert any(log.may_be_lost(n, now_ms) for n in wanted)

        def remembered(self, log: Log) -> bool:
            """Whether its counter must still be there."""
            kept_ms = 30 * 86_400_000
            return log.listener is not None or self.clock.ms - log.used_ms <= kept_ms

        def read_all(self, channel: str, since: Since, limit: int) -> tuple[History, list[int]]:
            """Page by page to the head; what holds for every ``since``."""
            log, now_ms = self.logs[channel], self.clock.ms
            first = page = self.run(self.broker.history(channel, since, limit))
            log.used_ms = now_ms
            publications = list(page.publications)
            while page.more:
                assert len(page.publications) == limit
                position = page.publications[-1].position
                assert position is not None
                page = self.run(self.broker.history(channel, After(position), limit))
                assert page.gap is None
                assert page.publications
                publications += page.publications
            assert first.head is not None
            self.check_head(log, first.head)
            assert first.start is not None
            assert first.start.epoch == log.epoch
            assert first.start.offset <= len(log.entries)
            following = [e for e in log.entries[first.start.offset :] if not e.expired(now_ms)]
            assert publications == following  # all after the start, in order, as published
            assert not any(p.time_ms <= now_ms - TTL_MS for p in publications)
            assert len(publications) <= SIZE
            if first.gap is not None:
                before = offset_of(publications[0]) if publications else len(log.entries) + 1
                assert first.gap.before == Position(first.start.epoch, before)
                assert first.gap.channel == channel
            return first, offsets_of(publications)

        def check_head(self, log: Log, head: Position) -> None:
            """The head is where the model is, in the one epoch the channel ever had."""
            if log.epoch is None:
                log.epoch = head.epoch
            assert head == Position(log.epoch, len(log.entries))

    case: type[Any] = AnyUse.TestCase
    case.settings = settings(max_examples=100, stateful_step_count=40)
    return case
