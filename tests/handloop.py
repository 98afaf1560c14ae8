"""An event loop that a test turns by hand, one callback at a time, with a clock of its own."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class HandLoop(asyncio.AbstractEventLoop):
    """Runs callbacks, timers and tasks; does no input or output.

    Whatever a callback raises is raised by :meth:`step`. Use :meth:`start` and :meth:`stop`
    around the test: in between it is the running loop.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._failures: list[dict[str, Any]] = []

    def start(self) -> None:
        asyncio._set_running_loop(self)

    def stop(self) -> None:
        asyncio._set_running_loop(None)

    # --- turned by the test ---

    @property
    def idle(self) -> bool:
        """Whether nothing is to be run, now or later."""
        return not self._ready and all(timer.cancelled() for timer in self._timers)

    def step(self) -> None:
        """Run the next callback."""
        if self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        self._raise()

    def run(self, limit: int = 20_000) -> None:
        """Run callbacks until none is left; more than ``limit`` are a loop that never rests."""
        for _ in range(limit):
            if not self._ready:
                return
            self.step()
        raise AssertionError("the loop never rests")

    def advance(self, seconds: float) -> None:
        """Let time pass; what it was time for is run when the loop is turned."""
        self.now += seconds
        while self._timers and self._timers[0].when() <= self.now:
            self._ready.append(heapq.heappop(self._timers))

    def complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that never waits for anything."""
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("the coroutine waits")

    def _raise(self) -> None:
        if self._failures:
            context = self._failures.pop()
            raise context.get("exception") or AssertionError(context["message"])

    # --- what asyncio needs ---

    def time(self) -> float:
        return self.now

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is passed over when its time comes

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **options)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._failures.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
