"""Publishing many, through a network that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from notifier.client import Client, Interrupted, Summary, Unreachable, connect
from notifier.server import Server
from tests.client.test_requests import stored
from tests.faults import FaultProxy
from tests.handlers.serving import PATIENCE, serving


async def test_many_are_stored_in_order(client: Client, server: Server) -> None:
    progress: list[Summary] = []
    lines = ({"channel": "alerts", "message": str(n)} for n in range(999))
    summary = await client.publish_many(lines, on_progress=progress.append)
    assert summary == Summary(lines=999, stored=999)
    assert progress[-1] == summary and len(progress) > 1
    assert await stored(server) == [str(n) for n in range(999)]


async def test_failures_have_the_number_of_their_line(client: Client, server: Server) -> None:
    lines = [
        '{"channel": "alerts", "message": "1"}',
        "",
        "no JSON",
        b'{"channel": "alerts", "mesage": "4"}\r\n',
        {"channel": "alerts", "message": "5"},
        "[]",
        '{"channel": "a b", "message": "7"}',
    ]
    summary = await client.publish_many(lines)
    assert (summary.lines, summary.stored, summary.failed) == (6, 2, 4)
    assert [(f.line, f.error.code) for f in summary.failures] == [
        (3, 40001),
        (4, 40002),
        (6, 40007),
        (7, 40004),
    ]
    assert await stored(server) == ["1", "5"]


async def test_what_may_pass_is_tried_again_and_then_told_as_failed() -> None:
    async with (
        serving(max_channels=1) as server,
        connect(server.url, retries=2, max_delay=0.1) as client,
    ):
        lines = [{"channel": name, "message": name} for name in ("a", "b")]
        summary = await client.publish_many(lines)
        assert (summary.lines, summary.stored + summary.repeated, summary.failed) == (2, 1, 1)
        assert [(f.line, f.error.code) for f in summary.failures] == [(2, 50303)]
        assert server.node.counts.intakes["ndjson"].refused[50303] == 3
        assert server.node.counts.intakes["ndjson"].stored == 1


async def test_numbers_are_those_of_the_source_also_in_later_requests(client: Client) -> None:
    lines = ['{"channel": "alerts", "message": "m"}'] * 700 + ["no JSON", "x" * 2_000_000]
    summary = await client.publish_many(lines)
    first, second = summary.failures
    assert (first.line, first.error.line, second.line) == (701, 701, 702)
    assert "line 701, column" in first.error.message
    assert second.error.message.startswith("Line 702 ")


async def test_own_ids_are_kept_and_stored_once(client: Client, server: Server) -> None:
    lines = ['{"channel": "alerts", "id": "i1", "message": "m"}'] * 3
    summary = await client.publish_many(lines)
    assert (summary.stored, summary.repeated) == (1, 2)
    assert await stored(server) == ["m"]


async def test_trickle_is_stored_as_it_comes(client: Client, server: Server) -> None:
    async def trickle() -> AsyncIterator[dict[str, str]]:
        await client.publish("alerts", "first")
        for number in range(3):
            yield {"channel": "alerts", "message": str(number)}
            async with asyncio.timeout(PATIENCE):
                while len(await stored(server)) < number + 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    assert (await client.publish_many(trickle())).stored == 3


async def test_fast_source_waits_for_the_server(client: Client, proxy: FaultProxy) -> None:
    asked = 0

    def flood() -> Iterator[dict[str, str]]:
        nonlocal asked
        for _ in range(100_000):
            asked += 1
            yield {"channel": "alerts", "message": "x" * 100}

    proxy.stall()
    task = asyncio.create_task(client.publish_many(flood()))
    await asyncio.sleep(0.5)
    assert asked <= 1500
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_many_survive_lost_connections_and_are_stored_once(
    client: Client, server: Server, proxy: FaultProxy
) -> None:
    proxy.allowances = iter([0, 100, 2000, 0, 100])
    lines = [{"channel": "alerts", "message": str(n)} for n in range(900)]
    summary = await client.publish_many(lines)
    assert (summary.stored + summary.repeated, summary.failed) == (900, 0)
    assert await stored(server) == [str(n) for n in range(900)]


async def test_interruption_tells_how_far_it_came(client: Client, proxy: FaultProxy) -> None:
    def source() -> Iterator[dict[str, str]]:
        for number in range(5000):
            if number == 2000:
                proxy.refuse()
            yield {"channel": "alerts", "message": str(number)}

    with pytest.raises(Interrupted) as caught:
        await client.publish_many(source())
    assert isinstance(caught.value.__cause__, Unreachable)
    assert 0 < caught.value.summary.stored < 5000


async def test_mistake_of_who_is_told_is_raised_as_it_is(client: Client, server: Server) -> None:
    def progress(_: Summary) -> None:
        raise LookupError("no such column")

    with pytest.raises(LookupError, match="no such column"):
        await client.publish_many([{"channel": "alerts", "message": "m"}], on_progress=progress)
    assert await stored(server) == ["m"]


async def test_mistake_of_the_source_is_told(client: Client) -> None:
    def source() -> Iterator[dict[str, str]]:
        yield {"channel": "alerts", "message": "m"}
        raise LookupError("no more")

    with pytest.raises(Interrupted) as caught:
        await client.publish_many(source())
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.summary.stored == 1
