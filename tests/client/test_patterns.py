"""Following channels that need not exist yet."""

from __future__ import annotations

import random

import pytest

import notifier.client
from notifier.client import Change, Client, Gap
from notifier.server import Server
from tests.client.test_subscription import iterating, messages, opened, take
from tests.faults import FaultProxy
from tests.handlers.serving import until


async def test_channels_that_are_and_that_will_be_are_followed(client: Client) -> None:
    changes: list[Change] = []
    await client.publish("builds:1", "before")
    await client.publish("other", "before")
    async with iterating(client.subscribe("builds:*", on_change=changes.append)) as items:
        await opened(changes)
        for channel in ("builds:1", "builds:2", "other", "builds:2"):
            await client.publish(channel, channel)
        await until(lambda: len(items) == 3)
        assert messages(items) == ["builds:1", "builds:2", "builds:2"]


async def test_overlapping_names_and_patterns_bring_each_once(client: Client) -> None:
    changes: list[Change] = []
    subscription = client.subscribe("a:*", "a:1", "*", "other", on_change=changes.append)
    async with iterating(subscription) as items:
        await opened(changes)
        for channel in ("a:1", "a:2", "other", "a:1"):
            await client.publish(channel, channel)
        await until(lambda: len(items) == 4)
        assert sorted(messages(items)) == ["a:1", "a:1", "a:2", "other"]


async def test_token_resumes_a_pattern_and_what_was_born_meanwhile(client: Client) -> None:
    for channel in ("b:1", "b:2"):
        for number in range(2):
            await client.publish(channel, f"{channel} {number}")
    async with client.subscribe("b:*", since="all") as subscription:
        seen = await take(subscription, 3)
        subscription.finish()
        token = subscription.token
        assert subscription.position is None
    await client.publish("b:3", "b:3 0")
    async with client.subscribe("b:*", since=token) as subscription:
        seen += await take(subscription, 2)
    assert sorted(messages(seen)) == ["b:1 0", "b:1 1", "b:2 0", "b:2 1", "b:3 0"]


@pytest.mark.parametrize("seed", range(3))
async def test_account_is_exact_though_connections_break_and_channels_are_born(
    client: Client, server: Server, proxy: FaultProxy, seed: int
) -> None:
    rng = random.Random(seed)
    proxy.allowances = iter([rng.randrange(400, 20_000) for _ in range(40)])
    subscription = client.subscribe("b:*", "named", since="all")
    async with (
        notifier.client.connect(f"http://127.0.0.1:{server.port}") as producer,
        iterating(subscription) as items,
    ):
        sent: dict[str, list[str]] = {}
        for number in range(500):
            channel = rng.choice([f"b:{rng.randrange(1 + number // 20)}", "named"])
            sent.setdefault(channel, []).append(f"{number} " + "x" * rng.randrange(500))
            await producer.publish(channel, sent[channel][-1])
        await until(lambda: len(items) >= 500)
    assert proxy.accepted > 5
    assert not any(isinstance(item, Gap) for item in items)
    for channel, expected in sent.items():
        assert messages([n for n in items if n.channel == channel]) == expected


async def test_more_channels_than_a_token_holds_are_resumed_exactly(
    client: Client, proxy: FaultProxy
) -> None:
    changes: list[Change] = []
    names = [f"b:{number}:" + "x" * 60 for number in range(100)]
    for name in names:
        await client.publish(name, "0")
    async with iterating(client.subscribe("b:*", since="all", on_change=changes.append)) as items:
        await until(lambda: len(items) == 100)
        proxy.cut()
        for name in names:
            await client.publish(name, "1")
        await until(lambda: len(items) >= 200)
    assert len(items) == 200
    assert messages(items[:100]) == ["0"] * 100
    assert sorted(n.channel for n in items[100:]) == sorted(names)
