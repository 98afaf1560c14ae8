"""A connection without a network: a small kernel buffer, and a stream before it."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable


class FakeStream:
    """Keeps the contract of :class:`notifier.sink.Stream` as Tornado's stream does.

    It also judges: a ``send`` past what the stream still holds, and more than the rest of one
    publication held, fail the test.

    :param capacity: bytes the kernel takes that the peer has not read.
    :param bites: the most the kernel takes at its next occasions, one by one; then all it can.
    """

    def __init__(self, *, capacity: int, on_closed: Callable[[], None] | None = None) -> None:
        self.capacity = capacity
        self.kernel = bytearray()
        self.bites: deque[int] = deque()
        self.broken = False
        self.closed = False
        self.sends = 0
        # Every frame that was written, not sent: replies, pongs, Close.
        self.on_write: Callable[[bytes], None] | None = None
        self._on_closed = on_closed
        self._buffer = bytearray()
        self._taken = 0
        self._written = 0
        self._rest_ends = 0  # where the rest of the cut publication ends
        self._futures: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waiting = False

    # --- notifier.sink.Stream ---

    def send(self, data: bytes) -> int:
        assert not self._buffer, "sent past what the stream still holds"
        self.sends += 1
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        if self.broken:
            raise ConnectionResetError
        taken = self._take(data)
        if not taken:
            raise BlockingIOError
        return taken

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        if isinstance(data, memoryview):
            assert self._rest_ends <= self._taken, "the rest of a second publication"
            assert not self._buffer, "a publication behind others' bytes"
            assert _is_one_frame(bytes(data.obj)), "more than one frame is pinned"  # type: ignore[arg-type]
            self._rest_ends = self._written + len(data)
        elif self.on_write is not None:
            self.on_write(data)
        self._buffer += data
        self._written += len(data)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._futures.append((self._written, future))
        self._flush()
        return future

    def writing(self) -> bool:
        return bool(self._buffer)

    def pending(self) -> int:
        return len(self._buffer)

    def unread(self) -> int:
        return len(self._buffer) + len(self.kernel)

    def abort(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._buffer.clear()
        while self._futures:
            self._futures.popleft()[1].set_exception(ConnectionResetError())
        if self._on_closed is not None:
            asyncio.get_running_loop().call_soon(self._on_closed)

    # --- the peer ---

    def read(self, size: int) -> bytes:
        """Take bytes from the kernel, as the peer; the stream goes on in a turn of its own."""
        data = bytes(self.kernel[:size])
        del self.kernel[:size]
        self._wake()
        return data

    def rest_pending(self) -> int:
        """Bytes of the cut publication that the kernel has not."""
        return max(0, self._rest_ends - self._taken)

    def _take(self, data: bytes | bytearray) -> int:
        room = self.capacity - len(self.kernel)
        if self.bites:
            room = min(room, self.bites.popleft())
        taken = bytes(data[: max(0, room)])
        self.kernel += taken
        return len(taken)

    def _flush(self) -> None:
        if self.broken:
            self.abort()
            return
        taken = self._take(self._buffer) if self._buffer else 0
        del self._buffer[:taken]
        self._taken += taken
        while self._futures and self._futures[0][0] <= self._taken:
            self._futures.popleft()[1].set_result(None)
        if len(self.kernel) < self.capacity:
            self._wake()

    def _wake(self) -> None:
        if self._buffer and not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_soon(self._writable)

    def _writable(self) -> None:
        self._waiting = False
        if not self.closed:
            self._flush()


def _is_one_frame(data: bytes) -> bool:
    size, head = data[1], 2
    if size >= 126:
        head = 4 if size == 126 else 10
        size = int.from_bytes(data[2:head])
    return len(data) == head + size
