"""What hearing a message from Redis costs: redis-py's PubSub against our own link.

    redis-server --port 7777 --save "" &
    python -m bench.redis_subscriber redis://127.0.0.1:7777 [messages] [pairs]

The messages are published by a process of their own; the two ways take turns, and CPU time of this
process is what counts. ``docs/adr/0004`` has what was found.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time

import hiredis
import redis
import redis.asyncio

from notifier.brokers.redis.link import Link
from notifier.brokers.redis.topology import Shard

PAYLOAD = b"p k3Jd9wQa 123456\n" + b"x" * 200
BELL = "bench:bell"


def publish(url: str, count: int) -> None:
    client = redis.Redis.from_url(url)
    while not client.pubsub_numsub(BELL)[0][1]:
        time.sleep(0.01)
    for start in range(0, count, 500):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(500, count - start)):
            pipeline.publish(BELL, PAYLOAD)
        pipeline.execute()


async def by_pubsub(url: str, count: int) -> None:
    client = redis.asyncio.Redis.from_url(url)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(BELL)
        heard = 0
        async for message in pubsub.listen():
            heard += message["type"] == "message"
            if heard == count:
                break
    await client.aclose()


async def by_link(url: str, count: int) -> None:
    done = asyncio.get_running_loop().create_future()
    heard = 0

    def on_message(name: bytes, bell: bytes, message: bytes) -> None:
        nonlocal heard
        heard += 1
        if heard == count:
            done.set_result(None)

    address = redis.connection.parse_url(url)
    link = await Link.connect(
        Shard(address["host"], address["port"]),
        tls=None,
        username=None,
        password=None,
        name="bench",
        on_message=on_message,
        on_confirmed=lambda name: None,
        on_ended=lambda name: None,
        on_moved=lambda: None,
    )
    link.send(("SUBSCRIBE", BELL))
    await done
    link.close()


def cost(way: object, url: str, count: int) -> float:
    """Microseconds of CPU for each message."""
    publisher = multiprocessing.Process(target=publish, args=(url, count))
    publisher.start()
    begin = time.process_time()
    asyncio.run(way(url, count))  # type: ignore[operator]
    taken = time.process_time() - begin
    publisher.join()
    return taken / count * 1e6


def main() -> None:
    url = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    pairs = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    python = sys.version.split()[0]
    print(f"redis-py {redis.__version__}, hiredis {hiredis.__version__}, Python {python}")
    print(f"{count} messages of {len(PAYLOAD)} bytes, {pairs} pairs; µs of CPU for each message")
    costs = [(cost(by_pubsub, url, count), cost(by_link, url, count)) for _ in range(pairs)]
    for name, values in zip(("PubSub", "Link"), zip(*costs, strict=True), strict=True):
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:8} median {middle:5.2f}   ({low:.2f} to {high:.2f})")
    ratios = [a / b for a, b in costs]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"ratio    median {middle:5.1f}   ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
