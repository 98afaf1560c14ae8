"""Who is late, by a clock that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from handlers.deadlines import Deadlines


class Timers(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.set: list[tuple[float, Callable[[], Any]]] = []
        super().__init__()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        self.set.append((when, callback))
        return super().call_at(when, callback, *args, context=context)

    async def pass_to(self, now: float) -> None:
        self.now = now
        for _ in range(3):
            await asyncio.sleep(0)


def timed(scene: Callable[[Timers, Deadlines[str], list[str]], Any]) -> None:
    loop = Timers()
    late: list[str] = []
    try:
        loop.run_until_complete(scene(loop, Deadlines(10.0, late.append), late))
    finally:
        loop.close()


def test_who_takes_longer_is_told_of_and_forgotten() -> None:
    async def scene(loop: Timers, deadlines: Deadlines[str], late: list[str]) -> None:
        deadlines.begin("a")
        await loop.pass_to(1009.9)
        assert late == []
        await loop.pass_to(1010.0)
        assert late == ["a"] and len(deadlines) == 0
        await loop.pass_to(1100.0)
        assert late == ["a"]

    timed(scene)


def test_who_was_in_time_is_not() -> None:
    async def scene(loop: Timers, deadlines: Deadlines[str], late: list[str]) -> None:
        deadlines.begin("a")
        deadlines.begin("b")
        deadlines.end("a")
        deadlines.end("never begun")
        await loop.pass_to(1010.0)
        assert late == ["b"]

    timed(scene)


def test_each_has_its_time_from_when_it_began() -> None:
    async def scene(loop: Timers, deadlines: Deadlines[str], late: list[str]) -> None:
        deadlines.begin("a")
        deadlines.begin("b")
        await loop.pass_to(1004.0)
        deadlines.begin("c")
        deadlines.begin("a")
        await loop.pass_to(1010.0)
        assert late == ["b"], "a has begun anew"
        await loop.pass_to(1014.0)
        assert late == ["b", "c", "a"]

    timed(scene)


def test_one_timer_does_for_all() -> None:
    async def scene(loop: Timers, deadlines: Deadlines[str], late: list[str]) -> None:
        for number in range(100):
            deadlines.begin(str(number))
            deadlines.begin("kept alive")
            deadlines.end(str(number))
        assert len(loop.set) == 1
        await loop.pass_to(1010.0)
        assert late == ["kept alive"]
        deadlines.begin("a")
        assert len(loop.set) == 2, "and a new one where there was none to wait for"

    timed(scene)
