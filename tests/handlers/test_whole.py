"""Requests whose handlers begin outside of a task, and go on in one where they have to wait."""

from __future__ import annotations

import asyncio
import json

import pytest

from handlers.whole import _go_on
from notifier.server import Server
from tests.handlers.serving import request


async def test_what_has_to_wait_in_the_middle_goes_on(server: Server) -> None:
    """The memory broker has nobody wait, but a long array gives others a turn."""
    body = json.dumps([{"channel": "a", "message": str(number)} for number in range(500)]).encode()
    answer = await request(
        server.port, "POST", "/notify", body=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200
    assert [item["channel"] for item in answer.json] == ["a"] * 500


@pytest.mark.parametrize("ending", ["a result", "an error", "cancelled"])
async def test_what_was_begun_outside_of_a_task_goes_on_in_one(ending: str) -> None:
    answer = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append(await answer)
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
            seen.append("done")
        except (asyncio.CancelledError, ValueError) as raised:
            seen.append(type(raised).__name__)
            raise

    steps = work()
    task = asyncio.create_task(_go_on(steps, steps.send(None)))
    await asyncio.sleep(0)
    if ending == "a result":
        answer.set_result("answer")
        await task
        assert seen == ["answer", "done"]
    elif ending == "an error":
        answer.set_exception(ValueError())
        with pytest.raises(ValueError):
            await task
        assert seen == ["ValueError"]
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["CancelledError"]
