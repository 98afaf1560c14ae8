"""What was received and not yet asked for: bounded, so that a slow reader slows the sender."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """A queue for one writer and one reader, bounded in entries and in bytes.

    A single entry may be larger than the bound, or nothing large could pass.
    """

    def __init__(self, *, entries: int, size: int) -> None:
        self._most, self._largest = entries, size
        self._entries: deque[tuple[T, int]] = deque()
        self._size = 0
        self._closed = False
        self._error: BaseException | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        return self._size

    async def put(self, entry: T, size: int) -> None:
        """Add an entry, when there is room."""
        while len(self._entries) >= self._most or self._size >= self._largest:
            self._room.clear()
            await self._room.wait()
        self._entries.append((entry, size))
        self._size += size
        self._filled.set()

    async def get(self) -> T:
        """The oldest entry, when there is one.

        :raises StopAsyncIteration: it was closed, and is empty.
        """
        while not self._entries:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self.take()

    def take(self) -> T:
        """The oldest entry, of which there must be one."""
        entry, size = self._entries.popleft()
        self._size -= size
        self._room.set()
        return entry

    def close(self, error: BaseException | None = None) -> None:
        """Nothing is put any more; the reader gets ``error`` after what is there."""
        self._closed, self._error = True, error
        self._filled.set()
