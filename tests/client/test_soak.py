"""Everything that can happen to a subscription, all the time: the account stays exact.

Connections break, stall and are handed over, channels are born, and the program that iterates is
slow, dies over what it handles, and begins again from its token.
"""

from __future__ import annotations

import asyncio
import random

import pytest

import notifier.client
from notifier.client import Client, Gap, Notification
from notifier.server import Server
from tests.faults import FaultProxy
from tests.handlers.serving import until

COUNT = 500


async def make_trouble(rng: random.Random, server: Server, proxy: FaultProxy) -> None:
    while True:
        await asyncio.sleep(rng.random() * 0.2)
        match rng.choice(["cut", "cut", "leave", "leave", "stall"]):
            case "cut":
                proxy.cut()
            case "leave":
                for connection in list(server.node.connections.values()):
                    connection.reconnect(rng.randrange(50))
            case "stall":
                proxy.stall()
                await asyncio.sleep(rng.random() * 0.1)
                proxy.flow()


async def live_and_die(
    rng: random.Random, client: Client, handled: list[Notification], lives: list[str]
) -> None:
    token = "all"
    while True:
        lives.append(token)
        lifetime = rng.randrange(100)
        gaps: list[Gap] = []
        subscription = client.subscribe("b:*", "named", since=token, on_gap=gaps.append)
        async with subscription:
            async for n in subscription:
                assert not gaps
                token = subscription.token or token
                lifetime -= 1
                if lifetime < 0 and subscription.token is not None:
                    break  # over this one, which must come again
                handled.append(n)
                subscription.finish()
                if rng.random() < 0.02:
                    await asyncio.sleep(rng.random() * 0.2)


@pytest.mark.parametrize("seed", range(3))
async def test_account_is_exact_whatever_happens(
    client: Client, server: Server, proxy: FaultProxy, seed: int
) -> None:
    rng = random.Random(seed)
    handled: list[Notification] = []
    lives: list[str] = []
    sent: dict[str, list[str]] = {}
    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(live_and_die(rng, client, handled, lives))
        trouble = tasks.create_task(make_trouble(rng, server, proxy))
        async with notifier.client.connect(f"http://127.0.0.1:{server.port}") as producer:
            for number in range(COUNT):
                channel = rng.choice([f"b:{rng.randrange(1 + number // 20)}", "named"])
                sent.setdefault(channel, []).append(f"{number} " + "x" * rng.randrange(2000))
                await producer.publish(channel, sent[channel][-1])
        trouble.cancel()
        proxy.flow()
        await until(lambda: len(handled) >= COUNT)
        living.cancel()
    assert len(lives) > 3
    for channel, expected in sent.items():
        assert [n.message for n in handled if n.channel == channel] == expected
