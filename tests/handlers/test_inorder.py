"""Steps begun in their order, by brokers that answer at once and by those that don't."""

from __future__ import annotations

import asyncio

import pytest

from handlers.inorder import TURN_SECONDS, InOrder


class Steps:
    """What was begun, and what has come to its end.

    :param slow: items whose step waits until :meth:`go` is called.
    """

    def __init__(self, *slow: int) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self._slow = slow
        self._gone = asyncio.Event()

    def go(self) -> None:
        self._gone.set()

    async def __call__(self, item: int) -> str:
        self.begun.append(item)
        if item in self._slow:
            await self._gone.wait()
        self.ended.append(item)
        if item < 0:
            raise LookupError(item)
        return str(item)


async def until(steps: Steps, count: int) -> None:
    while len(steps.begun) < count:  # noqa: ASYNC110 -- each turn begins some
        await asyncio.sleep(0)


def test_no_items_give_nothing() -> None:
    async def run() -> list[str]:
        return await InOrder()(Steps(), [])

    assert asyncio.run(run()) == []


def test_prompt_steps_are_taken_one_after_the_other_without_a_task() -> None:
    async def run() -> None:
        steps = Steps()
        tasks: set[asyncio.Task[object] | None] = set()

        async def step(item: int) -> str:
            assert steps.begun == steps.ended
            tasks.add(asyncio.current_task())
            return await steps(item)

        assert await InOrder()(step, range(100)) == [str(item) for item in range(100)]
        assert tasks == {asyncio.current_task()}

    asyncio.run(run())


def test_once_one_had_to_wait_the_rest_are_begun_together_and_in_order() -> None:
    async def run() -> None:
        steps = Steps(2, 3)
        in_order = InOrder()
        results = asyncio.create_task(in_order(steps, range(6)))
        await until(steps, 3)
        assert steps.begun == [0, 1, 2]
        steps.go()
        assert await results == ["0", "1", "2", "3", "4", "5"]
        assert steps.begun == [0, 1, 2, 3, 4, 5]
        later = Steps(0, 1)
        results = asyncio.create_task(in_order(later, range(3)))
        await until(later, 3)
        assert later.ended == [2]
        later.go()
        assert await results == ["0", "1", "2"]

    asyncio.run(run())


def test_failure_is_told_when_all_have_come_to_their_end() -> None:
    async def run() -> None:
        steps = Steps(0, 2)
        results = asyncio.create_task(InOrder()(steps, [0, -1, 2]))
        await until(steps, 1)
        steps.go()
        with pytest.raises(LookupError):
            await results
        assert steps.ended == [0, -1, 2]

    asyncio.run(run())


def test_others_have_a_turn_in_the_middle_of_many_steps() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        taken: list[int] = []

        async def step(item: int) -> None:
            end = loop.time() + TURN_SECONDS / 2
            while loop.time() < end:
                pass
            taken.append(item)

        others: list[int] = []
        work = asyncio.create_task(InOrder()(step, range(12)))
        while not work.done():
            await asyncio.sleep(0)
            others.append(len(taken))
        assert len(others) > 3

    asyncio.run(run())
