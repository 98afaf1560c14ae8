from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifier import errands as room
from notifier.errands import Errands, end


async def test_errand_is_done_and_forgotten() -> None:
    errands, done = Errands(), []

    async def errand() -> None:
        done.append(1)

    errands.run(errand())
    assert len(errands) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (done, len(errands)) == ([1], 0)


async def test_errand_that_fails_is_told_of() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

    async def errand() -> None:
        raise RuntimeError("a fault")

    task = Errands().run(errand())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [str(context["exception"]) for context in told] == ["a fault"]


async def test_close_ends_what_is_under_way() -> None:
    errands = Errands()
    task = errands.run(asyncio.sleep(3600))
    await errands.close()
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError):
        task.result()


async def test_task_that_forgets_it_was_cancelled_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "INSIST_SECONDS", 0.01)
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                forgotten += 1
        await asyncio.sleep(1000)

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task]), 10)
    assert task.cancelled() and forgotten == 3


async def test_how_they_end_is_nobodys_concern() -> None:
    async def failing() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("at the end")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await end([task])
    assert isinstance(task.exception(), ValueError)
    await end([])
