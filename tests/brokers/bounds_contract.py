"""What a broker that alone knows its channels keeps within, as tests: bytes, channels, time, keys.

A broker joins with its :class:`Bench` and two lines::

    class TestBounds(Bounds):
        opened = staticmethod(opened)
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from notifier.brokers.base import Broker, Idempotency, Receipt
from notifier.brokers.epochs import COUNTER_SECONDS
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import TooManyChannels
from notifier.notification import Draft, Position, Publication
from notifier.wire.resume import After, All, Last
from tests.brokers.contract import Clock, Listener, offsets_of, place

COUNTER_MS = COUNTER_SECONDS * 1000
HOUR_MS = 3_600_000
# What a publication without a body is reckoned at.
ONE = Publication("a", None, "n", 0, b"").size
SIZE = 10
KEY_TTL_MS = 60_000
NAMESPACES = Namespaces(
    Namespace(history_size=SIZE, history_ttl=HOUR_MS / 1000),
    {"live": Namespace(history_size=0), "long": Namespace(history_size=5000)},
)


class Bench(ABC):
    """A broker over :data:`NAMESPACES` whose keys live for :data:`KEY_TTL_MS`, and its clock."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.broker: Any = broker
        self.clock = clock
        self.published = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of history it reckons that it holds."""

    @abstractmethod
    def publications(self) -> int:
        """0 when it really holds none."""

    @abstractmethod
    def channels(self) -> int:
        """How many it remembers, be it for a listener."""

    @abstractmethod
    def keys(self) -> int:
        """Idempotency keys it remembers."""

    @abstractmethod
    async def sweep(self) -> None:
        """Have every log looked at."""

    async def publish(
        self,
        channel: str = "a",
        *,
        size: int = 0,
        key: str | None = None,
        expires_in_ms: int | None = None,
        id: str | None = None,
    ) -> Receipt:
        self.published += 1
        expires_ms = None if expires_in_ms is None else self.clock.ms + expires_in_ms
        draft = Draft(
            channel,
            id or f"n{self.published}",
            self.clock.ms,
            b"x" * size,
            expires_ms=expires_ms,
        )
        receipt: Receipt = await self.broker.publish(
            draft, None if key is None else Idempotency(key, b"")
        )
        return receipt

    async def offsets(self, channel: str = "a") -> list[int]:
        return offsets_of((await self.broker.history(channel, All(), 1000)).publications)

    async def names(self) -> list[str]:
        found = await self.broker.channels(Pattern.parse("*"), "", 100)
        return [state.channel for state in found]


class Bounds:
    """
    :cvar opened: an open broker with nothing in it, and these bounds: ``history_bytes``,
        ``max_channels``, ``max_keys``.
    """

    opened: Callable[..., AbstractAsyncContextManager[Bench]]

    # --- bytes ---

    async def test_least_recently_used_channel_is_trimmed_first(self) -> None:
        async with self.opened(history_bytes=6 * ONE) as bench:
            for channel in ("published", "read", "heard", "published", "read", "heard"):
                await bench.publish(channel)
                bench.clock.ms += 1
            # In the order of use: heard, read, published.
            await bench.broker.subscribe("heard", Listener())
            bench.clock.ms += 1
            await bench.broker.history("read", All(), 1)
            bench.clock.ms += 1
            await bench.publish("published")
            assert bench.size == 6 * ONE
            await bench.sweep()  # by now it is known who was read and heard
            await bench.publish("new")
            left = {name: len(await bench.offsets(name)) for name in await bench.names()}
            assert left == {"heard": 0, "read": 2, "published": 3, "new": 1}

    async def test_bytes_trimmed_are_a_gap_and_no_new_epoch(self) -> None:
        async with self.opened(history_bytes=2 * ONE) as bench:
            first = place(await bench.publish())
            bench.clock.ms += 1
            await bench.publish("b")
            await bench.publish("b")
            page = await bench.broker.history("a", After(Position(first.epoch, 0)), 10)
            assert page.gap is not None
            assert (page.gap.before, page.head) == (Position(first.epoch, 2), first)
            assert (await bench.broker.history("a", After(first), 10)).gap is None
            assert place(await bench.publish()) == Position(first.epoch, 2)

    async def test_publication_larger_than_all_bytes_is_announced_and_not_kept(self) -> None:
        async with self.opened(history_bytes=10 * ONE) as bench:
            listener = Listener()
            await bench.broker.subscribe("a", listener)
            await bench.publish("b")
            await bench.publish(size=20 * ONE)
            assert listener.ids == ["n2"]
            assert (await bench.offsets("a"), await bench.offsets("b")) == ([], [])
            assert bench.size == 0

    async def test_bytes_are_given_back_however_publications_go(self) -> None:
        async with self.opened() as bench:
            for n in range(25):
                await bench.publish(size=n, expires_in_ms=None if n % 2 else 1000)
                await bench.publish(f"b{n}", size=100)
            assert bench.size == sum(ONE + n for n in range(15, 25)) + 25 * (ONE + 100)
            bench.clock.ms += 1000
            await bench.sweep()
            assert bench.size == sum(ONE + n for n in range(15, 25, 2)) + 25 * (ONE + 100)
            assert await bench.broker.clear("b0") == 1
            assert bench.size == sum(ONE + n for n in range(15, 25, 2)) + 24 * (ONE + 100)
            bench.clock.ms += HOUR_MS
            await bench.sweep()
            assert (bench.size, bench.publications()) == (0, 0)

    async def test_what_was_deleted_is_not_trimmed_as_well(self) -> None:
        async with self.opened(history_bytes=2 * ONE) as bench:
            await bench.publish("a")
            assert await bench.broker.clear("a") == 1
            bench.clock.ms += 1
            for _ in range(3):
                await bench.publish("b")
            assert (bench.size, await bench.offsets("b")) == (2 * ONE, [2, 3])

    # --- channels ---

    async def test_one_channel_too_many_is_refused_and_disturbs_nobody(self) -> None:
        async with self.opened(max_channels=2) as bench:
            listener = Listener()
            await bench.broker.subscribe("c", listener)
            results = await asyncio.gather(
                bench.publish("a"),
                bench.publish("b"),
                bench.publish("c", key="k"),
                bench.publish("a"),
                return_exceptions=True,
            )
            assert isinstance(results[2], TooManyChannels)
            assert results[2].limit == 2
            assert listener.ids == []
            assert (await bench.offsets("a"), await bench.offsets("c")) == ([1, 2], [])
            # When there is room again the refused one, under the same key, is stored.
            bench.clock.ms += HOUR_MS
            await bench.sweep()
            bench.clock.ms += COUNTER_MS + HOUR_MS + 1
            await bench.sweep()
            assert not (await bench.publish("c", key="k")).repeated

    async def test_listening_and_reading_make_no_channel(self) -> None:
        async with self.opened(max_channels=1) as bench:
            for n in range(50):
                listener = Listener()
                await bench.broker.subscribe(f"c{n}", listener)
                await bench.broker.history(f"d{n}", All(), 1)
                await bench.broker.unsubscribe(f"c{n}", listener)
            await bench.sweep()
            assert bench.channels() == 0
            assert place(await bench.publish()).offset == 1

    # --- counters and epochs ---

    @pytest.mark.parametrize(("more_ms", "offset"), [(0, 2), (1, 1)])
    async def test_counter_outlives_the_history_by_thirty_days(
        self, more_ms: int, offset: int
    ) -> None:
        async with self.opened() as bench:
            first = place(await bench.publish())
            bench.clock.ms += HOUR_MS + COUNTER_MS + more_ms
            await bench.sweep()
            again = place(await bench.publish())
            assert again.offset == offset
            assert (again.epoch == first.epoch) == (offset == 2)

    async def test_forgotten_position_is_a_gap_in_the_new_epoch(self) -> None:
        async with self.opened() as bench:
            first = place(await bench.publish())
            bench.clock.ms += 2 * COUNTER_MS
            await bench.sweep()
            page = await bench.broker.history("a", After(first), 10)
            assert page.gap is not None
            assert page.gap.after == first
            again = place(await bench.publish())
            assert again.offset == 1
            assert again.epoch != first.epoch

    async def test_channel_with_a_listener_keeps_its_counter_and_for_thirty_days_more(self) -> None:
        async with self.opened() as bench:
            listener = Listener()
            first = place(await bench.publish())
            await bench.broker.subscribe("a", listener)
            bench.clock.ms += 2 * COUNTER_MS
            await bench.sweep()
            await bench.broker.unsubscribe("a", listener)
            await bench.sweep()
            bench.clock.ms += COUNTER_MS
            await bench.sweep()
            assert place(await bench.publish()) == Position(first.epoch, 2)

    async def test_reading_keeps_the_counter(self) -> None:
        async with self.opened() as bench:
            first = place(await bench.publish())
            for _ in range(3):
                bench.clock.ms += COUNTER_MS
                await bench.broker.history("a", Last(1), 1)
                await bench.sweep()
            assert place(await bench.publish()) == Position(first.epoch, 2)

    async def test_forgetting_one_channel_changes_no_other(self) -> None:
        async with self.opened() as bench:
            await bench.publish("old")
            bench.clock.ms += COUNTER_MS + HOUR_MS
            kept = place(await bench.publish("kept"))
            bench.clock.ms += 1
            await bench.sweep()
            assert await bench.names() == ["kept"]
            assert place(await bench.publish("kept")) == Position(kept.epoch, 2)

    async def test_who_listens_to_a_channel_that_was_never_born_keeps_its_epoch(self) -> None:
        async with self.opened() as bench:
            await bench.publish("old")
            listener = Listener()
            await bench.broker.subscribe("empty", listener)
            (begun,) = listener.heard
            assert isinstance(begun, Position)
            bench.clock.ms += COUNTER_MS + HOUR_MS + 1
            await bench.sweep()
            assert await bench.names() == []
            page = await bench.broker.history("empty", After(begun), 10)
            assert (page.head, page.gap) == (begun, None)
            assert place(await bench.publish("empty")) == Position(begun.epoch, 1)
            assert place(await bench.publish("old")).epoch != begun.epoch

    async def test_no_two_have_an_epoch_in_common(self) -> None:
        epochs = set()
        for _ in range(10):
            async with self.opened() as bench:
                epochs.add(place(await bench.publish()).epoch)
        assert len(epochs) == 10
        assert all(Position.parse(f"{epoch}:1") for epoch in epochs)

    # --- idempotency keys ---

    async def test_oldest_key_is_forgotten_when_there_are_too_many(self) -> None:
        async with self.opened(max_keys=2) as bench:
            for key in ("k1", "k2", "k3"):
                await bench.publish(key=key)
            assert (await bench.publish(key="k3")).repeated
            assert (await bench.publish(key="k2")).repeated
            assert not (await bench.publish(key="k1")).repeated
            assert bench.keys() == 2

    async def test_repeat_does_not_prolong_a_key(self) -> None:
        async with self.opened() as bench:
            await bench.publish(key="k")
            for _ in range(2):
                bench.clock.ms += KEY_TTL_MS // 2
                again = await bench.publish(key="k")
            assert not again.repeated
            assert bench.keys() == 1

    async def test_sweep_lets_go_of_keys_whose_time_is_over(self) -> None:
        async with self.opened() as bench:
            await bench.publish(key="k1")
            bench.clock.ms += 1
            await bench.publish(key="k2")
            bench.clock.ms += KEY_TTL_MS - 1
            await bench.sweep()
            assert bench.keys() == 1
            assert (await bench.publish(key="k2")).repeated
            bench.clock.ms += 1
            await bench.sweep()
            assert bench.keys() == 0
