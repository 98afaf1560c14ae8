"""A connection's outlet: the one door for every byte that goes to it.

The fan-out calls ``send`` of the socket itself; everything else (replies, pings, pongs, Close)
goes through :meth:`Sink.write`. When the kernel takes less than it was given, the sink *blocks*:
it hands the stream the rest of the one frame that was cut, leaves live in every feed, and goes on
when the stream has got rid of it. So a slow client costs its cursors and one frame, never a queue
of copies; and what is written in the meantime waits behind that frame, never inside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from notifier.counts import Traffic
from notifier.notification import Gap
from notifier.wire.prepared import Format, Prepared, Tailor


class Flush(Protocol):
    """A write on its way: done when its bytes have left for the kernel."""

    def add_done_callback(self, callback: Callable[[Flush], object], /) -> None: ...


class Stream(Protocol):
    """What a sink needs of a connection. ``handlers/stream.py`` makes one of Tornado's."""

    def send(self, data: bytes) -> int:
        """Give the kernel what it takes at once.

        :raises BlockingIOError: it takes nothing.
        :raises OSError: the connection is gone.
        """

    def write(self, data: bytes | memoryview) -> Flush:
        """Send all of it, in the order of the calls, as soon as may be."""

    def writing(self) -> bool:
        """Whether some of what was written has not left yet."""

    def pending(self) -> int:
        """Bytes that ``write`` took and the kernel has not."""

    def unread(self) -> int:
        """Bytes the peer has not acknowledged, here and in the kernel."""

    def abort(self) -> None:
        """Tear the connection down, now."""


class Sink:
    """One connection's outlet.

    :param format: the wire format its publications are sent in.
    :param tailor: fits them to this connection, if they are not the same for all.
    :param on_gap: told of a gap that the format can't tell, after which nothing is delivered.
    :param max_pending_bytes: of replies and the like that the peer does not read; over it the
        connection is torn down.
    :param on_blocked: told when the sink blocks; its subscriptions must leave live.
    :param on_drained: told when it can be written to again.
    :param on_finished: told when the last frame was written; its subscriptions must end.
    :param traffic: where what goes out is counted, with all others of its transport.
    :ivar ended: why the connection ended, by the first who knew, in a word or a close code.
    """

    __slots__ = ("_corked", "_gate", "_max_pending", "_on_blocked", "_on_drained", "_on_finished",
                 "_rest", "_stream", "blocked", "closed", "ended", "format", "on_gap", "send",
                 "tailor", "traffic")  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        format: Format,
        *,
        max_pending_bytes: int,
        on_blocked: Callable[[Sink], None],
        on_drained: Callable[[Sink], None],
        on_finished: Callable[[Sink], None],
        traffic: Traffic,
        tailor: Tailor | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        self._stream = stream
        self.send = stream.send
        self.format = format
        self.tailor = tailor
        self.on_gap = on_gap
        self.traffic = traffic
        self.blocked = False
        self.closed = False
        self.ended = ""
        self._corked = False
        self._gate: Flush | None = None
        # Bytes of a cut publication among what is pending, at most: they are no reply.
        self._rest = 0
        self._max_pending = max_pending_bytes
        self._on_blocked = on_blocked
        self._on_drained = on_drained
        self._on_finished = on_finished

    def cork(self) -> None:
        """Hold publications back, as if the kernel took nothing, until :meth:`uncork`."""
        self._corked = self.blocked = True

    def uncork(self) -> None:
        """Let them go."""
        self._corked = False
        if self.closed:
            return
        if self._gate is None:
            self.blocked = False
            self._on_drained(self)
        else:
            self._on_blocked(self)

    def write(self, frame: bytes) -> Flush | None:
        """Send one whole frame, after everything before it. ``None`` once closed."""
        if self.closed:
            return None
        return self._hand_over(frame)

    def finish(self, frame: bytes, why: str = "") -> Flush | None:
        """Send the last frame there will be; no publication comes after it."""
        flush = self.write(frame)
        self.closed = True
        self.ended = self.ended or why
        self._on_finished(self)
        return flush

    def push(self, items: list[Prepared]) -> int:
        """Send publications and gaps; how many were taken.

        One that was cut counts as taken: the sink is then blocked, and the next one is the
        cursor. Not to be called while blocked.
        """
        if self.tailor is None:
            frames = [item.encoded(self.format) for item in items]
        else:
            frames = self.tailor.fit(items, self.format)
        taken = self._push(frames)
        if taken < len(items):
            items, frames = items[:taken], frames[:taken]
        if len(items) == 1 and frames[0] and not isinstance(items[0].item, Gap):
            # As below, for what is by far the most common where a tailor has to be asked.
            self.traffic.publications += 1
            self.traffic.bytes += len(frames[0])
        else:
            self.count(items, frames)
        if self.tailor is not None:
            self.tailor.sent(items)
        return taken

    def count(self, items: list[Prepared], frames: list[bytes], times: int = 1) -> None:
        """These went out so often; a negative number takes back what did not after all."""
        gaps = [prepared.item for prepared in items if isinstance(prepared.item, Gap)]
        # A tailor leaves nothing of what is not for this connection.
        sent = len(frames) - frames.count(b"")
        self.traffic.sent(sent - len(gaps), sum(map(len, frames)), gaps, times)

    def say(self, kind: str, message: bytes) -> Flush | None:
        """Send a message of the server's own."""
        return self.write(self.format.say(kind, message))

    def _push(self, frames: list[bytes]) -> int:
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        if not data:
            return len(frames)
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return 0
        if sent == len(data):
            return len(frames)
        return self.spill(frames, sent)

    def spill(self, frames: list[bytes], sent: int) -> int:
        """The kernel took ``sent`` bytes of these frames and no more; how many are taken."""
        for index, frame in enumerate(frames):
            if sent < len(frame):
                # Only this frame's own bytes: a slice of the joined batch would pin all of the
                # batch for every stuck client. Whole when nothing went: it is also how we
                # learn that the socket is writable again.
                self._rest = len(frame) - sent
                self._hand_over(memoryview(frame)[sent:])
                return index + 1
            sent -= len(frame)
        raise AssertionError("a spill without a cut frame")

    async def drained(self) -> None:
        """Wait until nothing that was written, nor a publication that was cut, is pending.

        Who reads from a connection waits here before reading on: a client that asks but does
        not read its answers is then not read either.
        """
        while self._gate is not None and not self.closed:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._gate.add_done_callback(partial(_settle, flushed))
            await flushed

    def backlog(self) -> int:
        """Bytes of replies and the like that wait here and not in the kernel, at least: of what
        waits, as much as a cut publication had left is taken for that.
        """
        return 0 if self.closed else max(0, self._stream.pending() - self._rest)

    def unread(self) -> int:
        """Bytes the peer has not acknowledged."""
        return 0 if self.closed else self._stream.unread()

    def abort(self, why: str = "lost") -> None:
        """Tear the connection down: no byte, no Close frame, will reach the peer."""
        self.closed = True
        self.ended = self.ended or why
        self._stream.abort()

    def _hand_over(self, data: bytes | memoryview) -> Flush | None:
        try:
            flush = self._stream.write(data)
        except OSError:
            self.abort()
            return None
        if self._stream.writing():
            if self._stream.pending() > self._max_pending + self._rest + len(data):
                self.abort("unread")
                return None
            self._gate = flush
            if not self.blocked:
                self.blocked = True
                self._on_blocked(self)
            flush.add_done_callback(self._flushed)
        return flush

    def _flushed(self, flush: Flush) -> None:
        # A later write has a future of its own, and the gate is the last of them.
        if flush is not self._gate or self.closed:
            return
        self._gate = None
        self._rest = 0
        if not self._corked:
            self.blocked = False
            self._on_drained(self)


def _settle(waiter: asyncio.Future[None], _: Flush) -> None:
    if not waiter.done():
        waiter.set_result(None)
