"""Following channels, across as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from notifier.client.buffer import Buffer
from notifier.client.notification import Change, Gap, Notification
from notifier.client.positions import Positions, Step
from notifier.client.reader import Entry, Reader
from notifier.client.receiver import Receiver
from notifier.client.requests import Requests

# Received and not yet asked for; what is more waits in the socket, and then at the server.
_MAX_ENTRIES = 256
_MAX_BYTES = 1024 * 1024

Item = TypeVar("Item", covariant=True)


class Subscription(Generic[Item]):
    """Iterate over it, in one task: notifications in order, each once, and gaps in their places.

    The connection is made when the iteration begins, and made again whenever it is lost. It ends
    with :meth:`aclose`, with ``async with``, with its client, or with the exception of a
    permanent refusal.

    An item is *finished* when the next one is asked for. :attr:`position` and :attr:`token` tell
    of finished ones alone: begun again from there, nothing is lost even if the program died over
    an item, and nothing that was finished comes again.
    """

    def __init__(
        self,
        requests: Requests,
        names: tuple[str, ...],
        *,
        since: str | None,
        reconnect: bool,
        on_gap: Callable[[Gap], object] | None,
        on_change: Callable[[Change], object] | None,
        on_end: Callable[[Subscription[Any]], object],
    ) -> None:
        self._names = names
        self._on_gap = on_gap
        self._on_change = on_change
        self._on_end = on_end
        self._finished = Positions(names)
        self._pending: Step | None = None  # of the item that is being handled
        self._buffer: Buffer[Entry] = Buffer(entries=_MAX_ENTRIES, size=_MAX_BYTES)
        self._receiver = Receiver(
            requests, Reader(names, since=since), self._buffer, reconnect=reconnect
        )
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def position(self) -> str | None:
        """Where a subscription to one channel stands: after all that is finished. To be given as
        ``since``. ``None`` before the server has answered, and for several or patterns."""
        return self._finished.get(self._names[0]) if len(self._names) == 1 else None

    @property
    def token(self) -> str | None:
        """Where it stands in all its channels, to be given as ``since``. ``None`` before the
        server has answered about all of them.

        It names every channel, and may be longer than what the server takes at once: a
        subscription of this client sends it in parts."""
        return str(self._finished.token()) if self._finished.complete else None

    def finish(self) -> None:
        """Take the last item for finished, without asking for the next."""
        if self._pending is not None:
            self._finished.advance(self._pending)
            self._pending = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self.finish()
        if self._closed:
            raise StopAsyncIteration
        if self._running is None:
            self._running = asyncio.create_task(self._receiver.run())
        while True:
            entry = await self._buffer.get()
            match entry.item:
                case Notification() as item:
                    self._pending = entry.step
                    return item  # type: ignore[return-value]
                case Gap() as gap:
                    if self._on_gap is None:
                        self._pending = entry.step
                        return gap  # type: ignore[return-value]
                    self._on_gap(gap)
            if entry.step is not None:
                self._finished.advance(entry.step)
            if isinstance(entry.item, Change) and self._on_change is not None:
                self._on_change(entry.item)

    async def aclose(self) -> None:
        """End the subscription, and its connection."""
        self._closed = True
        self._buffer.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._on_end(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
