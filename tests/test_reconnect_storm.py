"""All clients lose their connections at once, and come back at once."""

from __future__ import annotations

import asyncio

from notifier.notification import Position
from tests.rawsocket import AccountedSocket, Service, serving

CLIENTS = 300
BEFORE, MEANWHILE = 10, 25


async def publish(service: Service, count: int) -> None:
    for number in range(count):
        await service.publish("alerts", f"alert {number}")
        await service.publish("builds", f"build {number}")


async def test_everybody_comes_back_to_what_it_missed_and_history_is_read_once() -> None:
    async with serving() as service:
        path = "/ws?channel=alerts&channel=builds"
        clients = await asyncio.gather(
            *(AccountedSocket.connect(service, path) for _ in range(CLIENTS))
        )
        await asyncio.gather(
            *(c.read_until(lambda c=c: len(c.account.places) == 2) for c in clients)
        )
        await publish(service, BEFORE)
        await asyncio.gather(*(client.read_until(client.up_to_date) for client in clients))

        for connection in list(service.node.connections.values()):
            connection.sink.abort()
        await service.node.connections.deserted.wait()
        await publish(service, MEANWHILE)
        service.broker.reads.clear()

        async def resume(number: int, old: AccountedSocket) -> tuple[AccountedSocket, int]:
            # They were cut at different places; each place is another question to history.
            places: dict[str, Position] = {}
            for channel, place in old.account.places.items():
                assert place is not None
                places[channel] = Position(place.epoch, place.offset - number % BEFORE)
            token = ",".join(f"{channel}={place}" for channel, place in places.items())
            client = await AccountedSocket.connect(service, f"{path}&since={token};t=0")
            await client.read_until(lambda: len(client.account.places) == 2)
            await client.read_until(client.up_to_date)
            return client, 2 * (MEANWHILE + number % BEFORE)

        resumed = await asyncio.gather(*(resume(n, old) for n, old in enumerate(clients)))
        for client, missed in resumed:
            assert not client.account.gaps
            assert client.account.delivered == missed, "what it missed, once"
        assert service.broker.reads == {"alerts": 1, "builds": 1}

        await publish(service, 1)
        await asyncio.gather(*(client.read_until(client.up_to_date) for client, _ in resumed))
        assert all(client.account.delivered == missed + 2 for client, missed in resumed)
