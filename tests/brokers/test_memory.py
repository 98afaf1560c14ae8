from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from notifier.brokers.memory import logs
from notifier.brokers.memory.broker import MemoryBroker
from notifier.channels import Namespaces
from tests.brokers.bounds_contract import HOUR_MS, KEY_TTL_MS, NAMESPACES, ONE, Bench, Bounds
from tests.brokers.contract import Clock, Contract, Listener, any_use


def make_memory(
    namespaces: Namespaces,
    *,
    idempotency_ttl: float,
    now_ms: Callable[[], int],
    history_bytes: int = 2**30,
    max_channels: int = 1000,
    max_keys: int = 1000,
) -> MemoryBroker:
    return MemoryBroker(
        namespaces,
        history_bytes=history_bytes,
        max_channels=max_channels,
        idempotency_ttl=idempotency_ttl,
        max_idempotency_keys=max_keys,
        now_ms=now_ms,
    )


class TestContract(Contract):
    make = staticmethod(make_memory)


TestAnyUse = any_use(make_memory)


class MemoryBench(Bench):
    """A memory broker, and its clock."""

    @property
    def size(self) -> int:
        size: int = self.broker.size
        return size

    def publications(self) -> int:
        return len(self.broker._logs._recent)

    def channels(self) -> int:
        return len(self.broker._logs._logs)

    def keys(self) -> int:
        return len(self.broker._keys)

    async def sweep(self) -> None:
        """A whole round and a bit."""
        for _ in range(20):
            self.broker.sweep()


@asynccontextmanager
async def opened(**bounds: int) -> AsyncIterator[MemoryBench]:
    clock = Clock()
    broker = make_memory(NAMESPACES, idempotency_ttl=KEY_TTL_MS / 1000, now_ms=clock, **bounds)
    await broker.open()
    yield MemoryBench(broker, clock)
    await broker.close()


class TestBounds(Bounds):
    opened = staticmethod(opened)


# --- the sweep ---


async def test_sweep_looks_at_a_bounded_number_of_logs_and_in_turn_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "SWEEP_LOGS", 10)
    async with opened() as bench:
        for n in range(35):
            await bench.publish(f"c{n}")
        bench.clock.ms += HOUR_MS
        sizes = []
        for _ in range(5):
            sizes.append(bench.size // ONE)
            bench.broker.sweep()
        assert sizes == [35, 25, 15, 5, 0]


async def test_sweep_bears_channels_that_come_and_go_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "SWEEP_LOGS", 1)
    async with opened() as bench:
        listeners = [Listener() for _ in range(4)]
        for n, listener in enumerate(listeners):
            await bench.broker.subscribe(f"c{n}", listener)
        bench.broker.sweep()
        for n, listener in enumerate(listeners):
            await bench.broker.unsubscribe(f"c{n}", listener)
        await bench.publish()
        bench.clock.ms += HOUR_MS
        await bench.sweep()
        assert bench.size == 0


# --- delivery ---


async def test_closed_broker_delivers_nothing() -> None:
    async with opened() as bench:
        listener = Listener()
        await bench.broker.subscribe("a", listener)
        await bench.broker.close()
        await bench.publish()
        assert listener.ids == []
