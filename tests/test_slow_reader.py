"""One slow, stuck or returning reader beside many fast ones, on real sockets."""

from __future__ import annotations

import asyncio

from notifier.brokers.base import PAGE_BYTES
from notifier.sink import Sink
from tests.rawsocket import PATIENCE, AccountedSocket, Service, serving

LARGEST = 3000
PATH = "/ws?channel=a"


async def stuck_reader(service: Service) -> tuple[AccountedSocket, Sink]:
    """A client that has subscribed and reads no more, and the server's end of it."""
    client = await AccountedSocket.connect(service, PATH, receive_buffer=2048)
    await client.read_until(lambda: client.account.places)
    (sink,) = service.node.connections
    return client, sink


async def publish_until_blocked(service: Service, sink: Sink) -> None:
    """More than the peer's kernel takes for it, so that it stays blocked."""
    count = 0
    while not sink.blocked or count < 40:
        await service.publish("a", "x" * LARGEST)
        await asyncio.sleep(0)
        count += 1


async def test_stuck_reader_costs_one_frame_and_a_page_and_delays_nobody() -> None:
    async with serving(send_buffer=1, stalled_seconds=60.0, feed_size=64) as service:
        _, sink = await stuck_reader(service)
        fast = [await AccountedSocket.connect(service, PATH) for _ in range(20)]
        reading = [asyncio.create_task(client.read_until(client.up_to_date)) for client in fast]
        await asyncio.gather(*reading)
        most = 0
        for number in range(60):
            for size in (10, 100, LARGEST):
                await service.publish("a", f"{number} " + "x" * size)
            await asyncio.gather(*(client.read_until(client.up_to_date) for client in fast))
            most = max(most, sink._stream.pending())
        # All of it, at once and exactly, while the other still reads nothing.
        assert sink.blocked and sink in service.node.connections
        assert [client.account.delivered for client in fast] == [180] * 20
        assert not any(client.account.gaps for client in fast)
        assert 0 < most < LARGEST + 500, "one frame"
        (subscription,) = service.node._hub.of(sink).values()
        held = sum(prepared.size for prepared in subscription.page) // 2
        assert held <= PAGE_BYTES, "one page of history, however much was published"


async def test_reader_that_takes_no_byte_is_cut_off() -> None:
    async with serving(send_buffer=1, stalled_seconds=0.5) as service:
        client, sink = await stuck_reader(service)
        await publish_until_blocked(service, sink)
        async with asyncio.timeout(PATIENCE):
            await service.node.connections.deserted.wait()
            while not client.ended:
                await client.read()
        assert client.code is None, "a Close frame can't reach a stuck peer"
        assert service.node._hub.feeds == {}


async def test_reader_that_is_slow_but_reads_is_kept() -> None:
    async with serving(send_buffer=1, stalled_seconds=2.0) as service:
        client, sink = await stuck_reader(service)
        await publish_until_blocked(service, sink)
        loop = asyncio.get_running_loop()
        begin, blocked = loop.time(), 0
        while loop.time() - begin < 4.0 or blocked <= 10:
            await service.publish("a", "x" * LARGEST)
            blocked += sink.blocked
            await asyncio.sleep(0.1)
            await client.read(2000)
        assert sink in service.node.connections
        await client.read_until(client.up_to_date)


async def test_reader_that_comes_back_to_life_is_told_what_it_missed_then_gets_the_rest() -> None:
    settings = {"stalled_seconds": 60.0, "feed_size": 5, "history_size": 12}
    async with serving(send_buffer=1, **settings) as service:
        client, sink = await stuck_reader(service)
        await publish_until_blocked(service, sink)
        for number in range(100):
            await service.publish("a", f"{number} " + "x" * 1000)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await client.read_until(client.up_to_date)
        # More than one where this took so long that the kernel has meanwhile taken a page more.
        assert client.account.gaps
        assert client.account.gaps[-1]["before"] == str(
            service.broker.available("a")[0].position
        ), "all that history has follows the gap"
        # And it is live again.
        await service.publish("a", "now")
        await client.read_until(client.up_to_date)
        (subscription,) = service.node._hub.of(sink).values()
        assert subscription.standing.name == "LIVE"
