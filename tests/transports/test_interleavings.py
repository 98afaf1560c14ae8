"""Publications to several channels and cuts anywhere, in any order: the account is exact.

There is nothing here that a client could tell two copies apart by: each event has its place in
its own block, so what comes twice is the server's fault.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.rawsocket import PATIENCE, Service, serving
from tests.transports.clients import Client, Ended, Events, Lines
from tests.transports.program import LastEventId, Memory, Positions

CHANNELS = ("p:a", "p:b", "p:c")

publishing = st.tuples(st.sampled_from(CHANNELS), st.integers(1, 4), st.sampled_from([1, 900]))
# The bytes that the client gets before it is cut off.
cutting = st.integers(0, 4000)
steps = st.lists(publishing | cutting, max_size=25)


@pytest.mark.parametrize(
    ("client", "memory", "names"),
    [
        (Events, LastEventId, CHANNELS),
        (Events, LastEventId, ("p:*",)),
        (Events, LastEventId, ("p:a", "*:b", "p:*")),
        (Lines, Positions, ("p:*",)),
    ],
    ids=["events, several", "events, a pattern", "events, both", "lines, a pattern"],
)
@given(steps=steps, small=st.booleans())
@example(steps=[("p:a", 2, 1), 900, ("p:b", 1, 1), 900, ("p:b", 1, 1), 0, 1300], small=True)
@settings(max_examples=25)
def test_everything_arrives_once(
    client: type[Client],
    memory: type[Memory],
    names: tuple[str, ...],
    steps: list[tuple[str, int, int] | int],
    small: bool,
) -> None:
    asyncio.run(asyncio.wait_for(account(client, memory(names, "all"), steps, small), PATIENCE))


async def account(
    kind: type[Client], memory: Memory, steps: list[tuple[str, int, int] | int], small: bool
) -> None:
    # With a ring of two, whoever comes back is served from history.
    async with serving(feed_size=2 if small else 1000, history_size=10_000) as service:
        came: list[str] = []
        for step in steps:
            if isinstance(step, int):
                await follow(service, kind, memory, came, budget=step)
            else:
                channel, count, size = step
                for _ in range(count):
                    await service.publish(channel, "x" * size)
                await asyncio.sleep(0)
        ledgers = service.broker.ledgers
        expected = {c: [p.id for p in ledgers[c].publications] for c in CHANNELS}
        everything = sum(map(len, expected.values()))
        while len(came) < everything:
            await follow(service, kind, memory, came, wanted=everything)
        for channel in CHANNELS:
            assert [id for id in came if id in set(expected[channel])] == expected[channel]
        assert len(came) == everything


async def follow(
    service: Service,
    kind: type[Client],
    memory: Memory,
    came: list[str],
    *,
    budget: int | None = None,
    wanted: int | None = None,
) -> None:
    """One connection: until so many bytes have come, or all that there is.

    While it lasts, one more is published: it comes live, or is cut.
    """
    client = await kind.connect(service.port, memory.asks())
    service.clients.append(client)
    memory.connected(client)
    if budget is not None:
        await service.publish(CHANNELS[budget % 3], "live")
        client.allow(budget)
    try:
        while wanted is None or len(came) < wanted:
            message = await client.message()
            if memory.take(client, message) and message["type"] == "notification":
                came.append(message["id"])
            assert "gap" not in message
    except Ended:
        pass
    memory.ended(client)
    client.close()
