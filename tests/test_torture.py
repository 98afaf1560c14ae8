"""Everything that writes to a connection at once, through socket buffers far too small.

Replies, pings, pongs, publications, pages of history and closes share each socket, to fast and
slow readers alike. Every frame must parse, and every account be exact.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.rawsocket import PATIENCE, AccountedSocket, Service, serving

CHANNELS = ("a", "b", "c")
PUBLICATIONS = 600


async def produce(service: Service, rng: random.Random) -> None:
    sizes = [0, 50, 200, 200, 200, 3000]
    for number in range(PUBLICATIONS):
        size = rng.randrange(20_000) if rng.random() < 0.02 else rng.choice(sizes)
        await service.publish(rng.choice(CHANNELS), f"{number} " + "x" * size)
        if rng.random() < 0.3:  # else the next comes in the same turn
            await asyncio.sleep(rng.random() * 0.004)


async def chatter(client: AccountedSocket, rng: random.Random, produced: asyncio.Event) -> None:
    """Ask for all sorts of answers for as long as there is something to disturb."""
    while not produced.is_set():
        await asyncio.sleep(rng.random() * 0.01)
        match rng.choice(["ping", "command", "history", "nonsense", "leave", "publish"]):
            case "ping":
                await client.ping()
            case "command":
                await client.command("ping")
            case "history":
                await client.command("history", channel=rng.choice(CHANNELS), limit=5)
            case "nonsense":
                await client.command("nonsense")
            case "leave":
                channel = rng.choice(CHANNELS)
                place = client.account.places.get(channel)
                await client.command("unsubscribe", channel=channel)
                since = {} if place is None else {"since": str(place)}
                await client.command("subscribe", channel=channel, **since)
            case "publish":
                if rng.random() < 0.2:
                    await client.command("publish", channel="b", message="from a client")


async def live(
    service: Service, rng: random.Random, produced: asyncio.Event, *, slow: bool
) -> AccountedSocket:
    path = "/ws?channel=a&channel=b&channel=c"
    client = await AccountedSocket.connect(service, path, receive_buffer=2048 if slow else 1 << 18)
    await client.read_until(lambda: len(client.account.places) == 3)
    chatting = asyncio.create_task(chatter(client, rng, produced))
    sizes = [100, 1000, 5000, 65536] if slow else [1 << 18]
    said_close = False
    async with asyncio.timeout(2 * PATIENCE):
        while not client.ended:
            done = produced.is_set() and chatting.done() and client.up_to_date()
            if done and not client.pings and not said_close:
                said_close = True
                await client.say_close(4321)
            await client.read(rng.choice(sizes))
            if slow and rng.random() < 0.3 and not produced.is_set():
                await asyncio.sleep(rng.random() * 0.01)
    await chatting
    return client


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_byte_is_out_of_place_however_little_the_sockets_take(
    seed: int, tls: bool
) -> None:
    # Rings and history so small that slow readers fall off both.
    async with serving(send_buffer=1, tls=tls, feed_size=20, history_size=60) as service:
        produced = asyncio.Event()

        async def produce_all() -> None:
            await asyncio.sleep(0.1)
            await produce(service, random.Random(seed))
            produced.set()
            # One more each, so that nobody waits for bytes when all has been read.
            while True:
                await asyncio.sleep(0.05)
                for connection in list(service.node.connections.values()):
                    connection.ask()

        async with asyncio.TaskGroup() as group:
            clients = [
                group.create_task(
                    live(service, random.Random(seed * 100 + n), produced, slow=n < 6)
                )
                for n in range(9)
            ]
            producing = asyncio.create_task(produce_all())
        producing.cancel()

        for task in clients:
            client = task.result()
            assert client.whole and client.code == 4321, "its Close was answered, last of all"
            assert not client.account.owed and not client.pings
            assert client.account.delivered > 0
        assert any(task.result().account.gaps for task in clients), "none was slow enough"
        assert service.node._hub.feeds == {}
