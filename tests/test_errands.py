from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifier.errands import Errands


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
