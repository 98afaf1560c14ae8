"""*Group commit*: what waits is written in one transaction, with one ``fsync`` for all of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from notifier import logs
from notifier.brokers.sqlite.receptions import Receptions
from notifier.brokers.sqlite.writer import Located, Order, Outcome, Publish, Writer, unavailable
from notifier.errors import NotifierError

T = TypeVar("T")

# What one transaction holds at most: a turn of the loop announces it.
TRANSACTION_ORDERS = 256
TRANSACTION_BYTES = 4 << 20
# A disk that has not answered for so long is in trouble.
SLOW_SECONDS = 5.0
# What an order costs besides its body.
_ORDER_BYTES = 500

_log = logging.getLogger("notifier.brokers.sqlite")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An order, who waits for it, and what makes the answer of its outcome."""

    order: Order
    answer: asyncio.Future[Any]
    announce: Callable[[Any], Any]

    @property
    def size(self) -> int:
        body = len(self.order.draft.body) if isinstance(self.order, Publish) else 0
        return body + _ORDER_BYTES


class GroupCommit:
    """The queue before the writer, and the thread that the writer has for itself.

    :param max_unwritten_bytes: what may wait; more is refused.
    :param on_sweep: awaited with each sweep.
    :param now_ms: milliseconds since 1970.
    :ivar closed: it takes no more orders.
    """

    def __init__(
        self,
        receptions: Receptions,
        *,
        max_unwritten_bytes: int,
        on_sweep: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self.closed = True
        self._receptions = receptions
        self._max_unwritten_bytes = max_unwritten_bytes
        self._on_sweep = on_sweep
        self._now_ms = now_ms
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._writer: Writer | None = None
        self._work: asyncio.Task[None] | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._sweep_wanted = False
        self._used: dict[str, int] = {}
        # When the disk was asked for what it has not done yet.
        self._asked: float | None = None
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written, as far as is known."""
        if self._trouble is not None:
            return f"history can't be written: {self._trouble}"
        if self._asked is not None and (waited := time.monotonic() - self._asked) > SLOW_SECONDS:
            return f"history can't be written: the disk has not answered for {waited:.0f} s"
        return None

    async def open(self, make_writer: Callable[[], Writer]) -> None:
        """Begin, with the writer that is made on its own thread; what that raises is raised."""
        loop = asyncio.get_running_loop()
        self._writer = await loop.run_in_executor(self._writing, make_writer)
        self.closed = False
        self._note_trouble()
        self._work = asyncio.create_task(self._work_on())
        self._work.add_done_callback(self._work_ended)

    async def finish(self) -> None:
        """Write what waits, and take no more."""
        self.closed = True
        if self._work is not None:
            self._wake.set()
            await asyncio.wait([self._work])

    def close(self) -> None:
        """After :meth:`finish`, and not on the loop's thread: it waits for the writer's."""
        if self._writer is not None:
            self._writing.submit(self._writer.close).result()
        self._writing.shutdown()

    def touch(self, channel: str) -> None:
        """It was read or listened to just now."""
        self._used[channel] = self._now_ms()

    def sweep(self) -> None:
        """Have the writer let go of what time has run out for, and try again what failed."""
        self._sweep_wanted = True
        self._wake.set()

    async def ask(self, order: Order, announce: Callable[[Any], T]) -> T:
        """Have it carried out in its turn; what ``announce`` makes of the outcome.

        It is carried out also when nobody waits any more.
        """
        if self.closed:
            raise unavailable(self._trouble or "the broker is closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(order, answer, announce)
        if self._waiting_bytes and self._waiting_bytes + waiting.size > self._max_unwritten_bytes:
            raise unavailable("too much waits for the disk already (setting max_unwritten_bytes)")
        self._waiting.append(waiting)
        self._waiting_bytes += waiting.size
        self._wake.set()
        return await answer

    async def _work_on(self) -> None:
        """Carry out orders, and sweep, for as long as the broker is open."""
        while self._waiting or not self.closed:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._sweep_wanted:
                if self._sweep_wanted:
                    self._sweep_wanted = False
                    await self._sweep()
                await self._carry_out()

    async def _carry_out(self) -> None:
        batch, size = self._next_transaction()
        if not batch:
            return
        orders = [waiting.order for waiting in batch]
        epochs = self._receptions.epochs({order.channel for order in orders})
        writer = self._writer
        assert writer is not None
        self._hand_over_used(writer)
        try:
            outcomes = await self._on_disk(partial(writer.carry_out, orders, epochs))
        except BaseException:
            self._waiting.extendleft(reversed(batch))  # whoever sees to the end answers them
            raise
        self._waiting_bytes -= size
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._answer(waiting, outcome)

    def _hand_over_used(self, writer: Writer) -> None:
        """While it does nothing: between two of its tasks."""
        used, self._used = self._used, {}
        writer.touch(used, self._now_ms())

    def _next_transaction(self) -> tuple[list[_Waiting], int]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < TRANSACTION_ORDERS and size < TRANSACTION_BYTES:
            waiting = self._waiting.popleft()
            batch.append(waiting)
            size += waiting.size
        return batch, size

    async def _sweep(self) -> None:
        writer = self._writer
        assert writer is not None
        if self._trouble is not None:
            await self._on_disk(writer.probe)
        await self._on_sweep()
        now_ms = self._now_ms()
        self._hand_over_used(writer)
        due = await self._on_disk(partial(writer.due, now_ms))
        if due is not None:
            followed = {name for name in due if name in self._receptions}
            await self._on_disk(partial(writer.sweep, due, followed, now_ms))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Have the writer do it, who does one thing at a time."""
        self._asked = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writing, work)
        finally:
            self._asked = None
            self._note_trouble()

    def _answer(self, waiting: _Waiting, outcome: Outcome) -> None:
        answer = waiting.answer
        if isinstance(outcome, NotifierError):
            if not answer.done():
                answer.set_exception(outcome)
            return
        if answer.cancelled() and isinstance(outcome, Located):
            return  # nobody is there who would ever unsubscribe it
        result = waiting.announce(outcome)
        if not answer.done():
            answer.set_result(result)

    def _note_trouble(self) -> None:
        assert self._writer is not None
        before, self._trouble = self._trouble, self._writer.trouble
        if self._trouble is not None and before is None:
            logs.event(_log, logging.ERROR, "broker.trouble", reason=self._trouble)
        elif self._trouble is None and before is not None:
            logs.event(_log, logging.INFO, "broker.recovered")

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        """It never should while the broker is open. Then nothing is stored any more."""
        if not self.closed:
            self.closed = True
            self._trouble = "the writer has ended, the server must be restarted"
            error = None if work.cancelled() else work.exception()
            logs.event(_log, logging.CRITICAL, "broker.writer_ended", exc_info=error)
        while self._waiting:
            self._answer(self._waiting.popleft(), unavailable(self._trouble or "it was closed"))
