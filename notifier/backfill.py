"""What feeds need of the broker, asked once for everybody who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from dataclasses import replace
from typing import Any, TypeVar

from notifier.brokers.base import Broker
from notifier.counts import Counts
from notifier.errands import Errands, end
from notifier.errors import BrokerUnavailable
from notifier.feed import Feed
from notifier.history import History
from notifier.notification import Publication
from notifier.subscription import Standing, Subscription
from notifier.tail import Start
from notifier.wire.resume import After, Last, Since

T = TypeVar("T")

# Publications in one page of history.
PAGE_SIZE = 256
# Before asking an unavailable broker again for a subscriber that waits on history.
RETRY_SECONDS = 1.0


class Backfill:
    """Opens feeds, warms their rings, and fetches pages for those who fell off.

    Owns the tasks that do it; a waiter that is cancelled does not cancel the others' wait.

    :param on_page: told when a subscription has its page and wants a turn.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        now_ms: Callable[[], int],
        counts: Counts,
        on_page: Callable[[Subscription], None],
    ) -> None:
        self._broker = broker
        self._now_ms = now_ms
        self._counts = counts
        self._on_page = on_page
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}
        self._opened: set[Feed] = set()
        self._warmed: set[Feed] = set()
        # A lock per channel that is being opened or abandoned, and how many want it.
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._errands = Errands()

    async def open(self, feed: Feed) -> None:
        """Have the broker deliver to the feed.

        :raises BrokerUnavailable:
        """
        if feed not in self._opened:
            await self._once(("open", feed), lambda: self._open(feed))

    def adopt(self, feed: Feed) -> None:
        """The broker delivers to it already: it came to life with its channel."""
        self._opened.add(feed)

    def abandon(self, feed: Feed) -> None:
        """Nobody follows the feed any more."""
        self._warmed.discard(feed)
        self._errands.run(self._abandon(feed))

    async def start(self, feed: Feed, since: Since) -> Start:
        """Where ``since`` lands: in the ring if it can be, else in history.

        :raises BrokerUnavailable:
        """
        start = feed.tail.locate(since, self._now_ms())
        if start is None and feed not in self._warmed:
            await self._once(("warm", feed), lambda: self._warm(feed))
            start = feed.tail.locate(since, self._now_ms())
        if start is None:
            page = await self._page(feed, since)
            # The gap is told with the answer to the subscriber, not once more before the page.
            start = Start(page.start, page.gap, page=replace(page, gap=None))
        return start

    def fetch(self, feed: Feed, subscription: Subscription) -> None:
        """Get the page of history that the subscription needs."""
        self._errands.run(self._fetch(feed, subscription))

    async def close(self) -> None:
        """End everything under way."""
        await end(self._flights.values())
        await self._errands.close()

    async def _open(self, feed: Feed) -> None:
        async with self._turn(feed.channel):
            if feed.subscriptions:  # else everybody left while it waited
                await self._broker.subscribe(feed.channel, feed)
                self._opened.add(feed)

    async def _abandon(self, feed: Feed) -> None:
        async with self._turn(feed.channel):
            if feed not in self._opened:
                return
            self._opened.discard(feed)
            with contextlib.suppress(BrokerUnavailable):  # then it has forgotten us already
                await self._broker.unsubscribe(feed.channel, feed)

    @contextlib.asynccontextmanager
    async def _turn(self, channel: str) -> AsyncIterator[None]:
        """One at a time with the broker about a channel: a late answer must not undo a newer."""
        lock, waiting = self._turns.get(channel, (asyncio.Lock(), 0))
        self._turns[channel] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(channel)
            if waiting > 1:
                self._turns[channel] = lock, waiting - 1

    async def _warm(self, feed: Feed) -> None:
        publications: list[Publication] = []
        size = feed.tail.depth
        first = page = await self._read(feed.channel, Last(size))
        publications.extend(page.publications)
        while page.more and publications[-1].position is not None:
            page = await self._read(feed.channel, After(publications[-1].position))
            if page.gap is not None:
                return  # trimmed while we read: what we hold is not whole
            publications.extend(page.publications)
        feed.warm(replace(first, head=page.head, publications=publications))
        if feed.subscriptions:  # else it was abandoned in the meantime
            self._warmed.add(feed)

    async def _fetch(self, feed: Feed, subscription: Subscription) -> None:
        while subscription.standing is Standing.LOADING:
            assert subscription.after is not None, "ephemeral feeds have no history"
            try:
                page = await self._page(feed, After(subscription.after))
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # A fault of ours. Its reader would wait for ever: let it come back instead.
                subscription.sink.abort("fault")
                raise
            else:
                feed.turn_page(subscription, page)
                self._on_page(subscription)

    async def _page(self, feed: Feed, since: Since) -> History:
        """A page that holds nothing that was deleted in the meantime."""
        while True:
            clearings = feed.clearings
            page = await self._once(
                ("page", feed.channel, since, clearings), lambda: self._read(feed.channel, since)
            )
            if feed.clearings == clearings:
                return page

    async def _read(self, channel: str, since: Since) -> History:
        self._counts.history_reads["subscription"] += 1
        return await self._broker.history(channel, since, PAGE_SIZE)

    async def _once(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Single flight: who comes while it is under way waits for the same."""
        task: asyncio.Task[T] | None = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # every waiter raises it; none may be left
