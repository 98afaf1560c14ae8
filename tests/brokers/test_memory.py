from __future__ import annotations

from collections.abc import Callable

import pytest

from notifier.brokers.base import Idempotency, Receipt
from notifier.brokers.epochs import COUNTER_SECONDS
from notifier.brokers.memory import logs
from notifier.brokers.memory.broker import MemoryBroker
from notifier.channels import Namespace, Namespaces
from notifier.errors import TooManyChannels
from notifier.notification import Draft, Position, Publication
from notifier.wire.resume import After, All
from tests.brokers.contract import Clock, Contract, Listener, any_use, offsets_of, place

COUNTER_MS = COUNTER_SECONDS * 1000
HOUR_MS = 3_600_000
ONE = Publication("a", None, "n", 0, b"").size


def make_memory(
    namespaces: Namespaces, *, idempotency_ttl: float, now_ms: Callable[[], int]
) -> MemoryBroker:
    return MemoryBroker(
        namespaces,
        history_bytes=2**30,
        max_channels=1000,
        idempotency_ttl=idempotency_ttl,
        max_idempotency_keys=1000,
        now_ms=now_ms,
    )


class TestContract(Contract):
    make = staticmethod(make_memory)


TestAnyUse = any_use(make_memory)


class Bench:
    """A small memory broker, and its clock."""

    def __init__(
        self, *, history_bytes: int = 2**30, max_channels: int = 10_000, max_keys: int = 100
    ) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(
            Namespaces(Namespace(history_size=10, history_ttl=HOUR_MS / 1000)),
            history_bytes=history_bytes,
            max_channels=max_channels,
            idempotency_ttl=60.0,
            max_idempotency_keys=max_keys,
            now_ms=self.clock,
        )

    async def publish(
        self,
        channel: str = "a",
        *,
        size: int = 0,
        key: str | None = None,
        expires_in_ms: int | None = None,
    ) -> Receipt:
        expires_ms = None if expires_in_ms is None else self.clock.ms + expires_in_ms
        draft = Draft(channel, "n", self.clock.ms, b"x" * size, expires_ms=expires_ms)
        return await self.broker.publish(draft, None if key is None else Idempotency(key, b""))

    async def offsets(self, channel: str = "a") -> list[int]:
        return offsets_of((await self.broker.history(channel, All(), 1000)).publications)

    def sweep_all(self) -> None:
        """A whole round and a bit, so that every log was looked at."""
        for _ in range(20):
            self.broker.sweep()


# --- bytes ---


async def test_least_recently_used_channel_is_trimmed_first() -> None:
    bench = Bench(history_bytes=6 * ONE)
    for channel in ("published", "read", "heard", "published", "read", "heard"):
        await bench.publish(channel)
    # In the order of use: heard, read, published.
    await bench.broker.subscribe("heard", Listener())
    await bench.broker.history("read", All(), 1)
    await bench.publish("published")
    assert bench.broker.size == 6 * ONE
    await bench.publish("new")
    left = {name: log.head - log.floor for name, log in bench.broker._logs._logs.items()}
    assert left == {"heard": 0, "read": 2, "published": 3, "new": 1}


async def test_bytes_trimmed_are_a_gap_and_no_new_epoch() -> None:
    bench = Bench(history_bytes=2 * ONE)
    first = place(await bench.publish())
    await bench.publish("b")
    await bench.publish("b")
    page = await bench.broker.history("a", After(Position(first.epoch, 0)), 10)
    assert page.gap is not None
    assert (page.gap.before, page.head) == (Position(first.epoch, 2), first)
    assert (await bench.broker.history("a", After(first), 10)).gap is None
    assert place(await bench.publish()) == Position(first.epoch, 2)


async def test_publication_larger_than_all_bytes_is_announced_and_not_kept() -> None:
    bench = Bench(history_bytes=10 * ONE)
    listener = Listener()
    await bench.broker.subscribe("a", listener)
    await bench.publish("b")
    await bench.publish(size=20 * ONE)
    assert listener.ids == ["n"]
    assert (await bench.offsets("a"), await bench.offsets("b")) == ([], [])
    assert bench.broker.size == 0


async def test_bytes_are_given_back_however_publications_go() -> None:
    bench = Bench()
    for n in range(25):
        await bench.publish(size=n, expires_in_ms=None if n % 2 else 1000)
        await bench.publish(f"b{n}", size=100)
    assert bench.broker.size == sum(ONE + n for n in range(15, 25)) + 25 * (ONE + 100)
    bench.clock.ms += 1000
    bench.sweep_all()
    assert bench.broker.size == sum(ONE + n for n in range(15, 25, 2)) + 25 * (ONE + 100)
    bench.clock.ms += HOUR_MS
    bench.sweep_all()
    assert bench.broker.size == 0
    assert not bench.broker._logs._recent


# --- channels ---


async def test_one_channel_too_many_is_refused_and_disturbs_nobody() -> None:
    bench = Bench(max_channels=2)
    listener = Listener()
    await bench.broker.subscribe("c", listener)
    await bench.publish("a")
    await bench.publish("b")
    with pytest.raises(TooManyChannels) as caught:
        await bench.publish("c", key="k")
    assert caught.value.limit == 2
    assert listener.ids == []
    assert await bench.offsets("c") == []
    assert place(await bench.publish("a")).offset == 2
    # When there is room again the refused one, under the same key, is stored.
    bench.clock.ms += COUNTER_MS + HOUR_MS + 1
    bench.sweep_all()
    assert not (await bench.publish("c", key="k")).repeated


async def test_listening_and_reading_make_no_channel() -> None:
    bench = Bench(max_channels=1)
    for n in range(50):
        listener = Listener()
        await bench.broker.subscribe(f"c{n}", listener)
        await bench.broker.history(f"d{n}", All(), 1)
        await bench.broker.unsubscribe(f"c{n}", listener)
    assert not bench.broker._logs._logs
    assert place(await bench.publish()).offset == 1


# --- counters and epochs ---


@pytest.mark.parametrize(("more_ms", "offset"), [(0, 2), (1, 1)])
async def test_counter_outlives_the_history_by_thirty_days(more_ms: int, offset: int) -> None:
    bench = Bench()
    first = place(await bench.publish())
    bench.clock.ms += HOUR_MS + COUNTER_MS + more_ms
    bench.sweep_all()
    again = place(await bench.publish())
    assert again.offset == offset
    assert (again.epoch == first.epoch) == (offset == 2)


async def test_forgotten_position_is_a_gap_in_the_new_epoch() -> None:
    bench = Bench()
    first = place(await bench.publish())
    bench.clock.ms += 2 * COUNTER_MS
    bench.sweep_all()
    page = await bench.broker.history("a", After(first), 10)
    assert page.gap is not None
    assert page.gap.after == first
    again = place(await bench.publish())
    assert again.offset == 1
    assert again.epoch != first.epoch


async def test_channel_with_a_listener_keeps_its_counter_and_for_thirty_days_more() -> None:
    bench = Bench()
    listener = Listener()
    first = place(await bench.publish())
    await bench.broker.subscribe("a", listener)
    bench.clock.ms += 2 * COUNTER_MS
    bench.sweep_all()
    await bench.broker.unsubscribe("a", listener)
    bench.sweep_all()
    bench.clock.ms += COUNTER_MS
    bench.sweep_all()
    assert place(await bench.publish()) == Position(first.epoch, 2)


async def test_forgetting_one_channel_changes_no_other() -> None:
    bench = Bench()
    await bench.publish("old")
    bench.clock.ms += COUNTER_MS + HOUR_MS
    kept = place(await bench.publish("kept"))
    listener = Listener()
    await bench.broker.subscribe("empty", listener)
    bench.clock.ms += 1
    bench.sweep_all()
    assert bench.broker._logs.get("old") is None
    assert place(await bench.publish("kept")) == Position(kept.epoch, 2)
    (begun,) = listener.heard
    assert begun is not None and isinstance(begun, Position)
    assert place(await bench.publish("empty")) == Position(begun.epoch, 1)


async def test_two_brokers_have_no_epoch_in_common() -> None:
    epochs = {place(await Bench().publish()).epoch for _ in range(100)}
    assert len(epochs) == 100
    assert all(Position.parse(f"{epoch}:1") for epoch in epochs)


# --- the sweep ---


async def test_sweep_looks_at_a_bounded_number_of_logs_and_in_turn_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "SWEEP_LOGS", 10)
    bench = Bench()
    for n in range(35):
        await bench.publish(f"c{n}")
    bench.clock.ms += HOUR_MS
    sizes = []
    for _ in range(5):
        sizes.append(bench.broker.size // ONE)
        bench.broker.sweep()
    assert sizes == [35, 25, 15, 5, 0]


async def test_sweep_bears_channels_that_come_and_go_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "SWEEP_LOGS", 1)
    bench = Bench()
    listeners = [Listener() for _ in range(4)]
    for n, listener in enumerate(listeners):
        await bench.broker.subscribe(f"c{n}", listener)
    bench.broker.sweep()
    for n, listener in enumerate(listeners):
        await bench.broker.unsubscribe(f"c{n}", listener)
    await bench.publish()
    bench.clock.ms += HOUR_MS
    bench.sweep_all()
    assert bench.broker.size == 0


# --- idempotency keys ---


async def test_oldest_key_is_forgotten_when_there_are_too_many() -> None:
    bench = Bench(max_keys=2)
    for key in ("k1", "k2", "k3"):
        await bench.publish(key=key)
    assert (await bench.publish(key="k3")).repeated
    assert (await bench.publish(key="k2")).repeated
    assert not (await bench.publish(key="k1")).repeated
    assert len(bench.broker._keys) == 2


async def test_repeat_does_not_prolong_a_key() -> None:
    bench = Bench()
    await bench.publish(key="k")
    for _ in range(2):
        bench.clock.ms += 30_000
        again = await bench.publish(key="k")
    assert not again.repeated


async def test_sweep_lets_go_of_keys_whose_time_is_over() -> None:
    bench = Bench()
    await bench.publish(key="k")
    bench.clock.ms += 59_999
    bench.broker.sweep()
    assert len(bench.broker._keys) == 1
    bench.clock.ms += 1
    bench.broker.sweep()
    assert not bench.broker._keys


# --- delivery ---


async def test_closed_broker_delivers_nothing() -> None:
    bench = Bench()
    listener = Listener()
    await bench.broker.subscribe("a", listener)
    await bench.broker.close()
    await bench.publish()
    assert listener.ids == []
