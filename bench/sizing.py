"""What a node and a Redis can hold, on this machine: figures for ``docs/how-to/scale-out.md``.

    python -m bench.sizing [publications] [connections]

Starts a Redis, configured as by docker-compose.yml, and one node. Counted are CPU time and memory,
which other programs hardly change, rather than how long it took.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.handlers.serving import RawSocket as WebSocket
from tests.handlers.serving import head, open_stream, request, wire_to
from tests.processes import Process, server_process
from tests.redisservers.server import RedisServer

CONFIGURATION = Path(__file__).parent.parent / "examples" / "compose" / "redis.conf"
CHANNELS = 100
SIZE = 200
ROUNDS = 5
# All of the connections come from one address.
UNLIMITED = ("--max-connections-per-address", "0", "--max-new-connections-per-second", "0")


async def publish_many(node: Process, count: int) -> None:
    """As lines of NDJSON, which travel to Redis many at once."""
    lines = b"".join(
        json.dumps({"channel": f"bench-{n % CHANNELS}", "data": "x" * SIZE}).encode() + b"\n"
        for n in range(count)
    )
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await request(node.port, "POST", "/notify", body=lines, headers=headers)
    assert answer.json["stored"] == count, answer


async def publish_singly(node: Process, count: int) -> None:
    """One request after the other."""
    async with wire_to(node.port) as wire:
        for n in range(count):
            body = json.dumps({"channel": f"bench-{n % CHANNELS}", "data": "x" * SIZE}).encode()
            await wire.send(head("POST", "/notify", {"Content-Length": str(len(body))}) + body)
            assert (await wire.answer()).status == 200


def cpu(redis: RedisServer) -> float:
    """Seconds that Redis has computed for so far."""
    said = redis.cli("INFO", "cpu")
    return sum(float(s) for s in re.findall(r"used_cpu_(?:user|sys):(\S+)", said))


def dataset(redis: RedisServer) -> int:
    found = re.search(r"used_memory_dataset:(\d+)", redis.cli("INFO", "memory"))
    assert found is not None
    return int(found[1])


async def measure(publications: int, connections: int) -> None:
    with (
        RedisServer(options={"include": str(CONFIGURATION)}) as redis,
        server_process("--broker", redis.url, "--max-body-bytes", "1GiB", *UNLIMITED) as node,
    ):
        while await node.not_ready() is not None:  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.02)
        for name, publish, count in (
            ("many at once", publish_many, publications),
            ("one by one", publish_singly, publications // 10),
        ):
            await publish(node, CHANNELS)
            found = []
            for _ in range(ROUNDS):
                before = cpu(redis)
                await publish(node, count)
                found.append((cpu(redis) - before) / count * 1e6)
            print(
                f"CPU of Redis for a publication, {name}: median {statistics.median(found):.0f} µs "
                f"({min(found):.0f} to {max(found):.0f}, {ROUNDS} rounds of {count})"
            )
        redis.cli("FLUSHALL")
        before = dataset(redis)
        await publish_many(node, kept := CHANNELS * 256)
        each = (dataset(redis) - before) / kept
        print(f"memory of Redis for a publication of {SIZE} bytes that is kept: {each:.0f} bytes")
        without = node.memory()
        async with AsyncExitStack() as stack:
            for n in range(connections):
                client = WebSocket(*await open_stream(node.port))
                stack.callback(client.close)
                await client.upgrade(f"/ws?channel=bench-{n % CHANNELS}")
            await asyncio.sleep(1)
            each = (node.memory() - without) / connections / 1024
            print(f"memory of a node for a WebSocket: {each:.1f} KiB ({connections} of them)")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    asyncio.run(measure(*(arguments + [20_000, 5_000][len(arguments) :])))
