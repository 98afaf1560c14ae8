"""Pipes, files and terminals, without making the loop wait for their other end.

They are left blocking, since whoever shares them expects that: each is asked before it is read
or written whether it would block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
from collections.abc import AsyncIterator

_CHUNK = 64 * 1024
_MAX_LINE = 16 * 1024 * 1024


class Closed(Exception):
    """Whoever read what we write has gone."""


async def read_lines(descriptor: int) -> AsyncIterator[bytes]:
    """The lines, without their ends; each as soon as it is there.

    :raises ValueError: a line is endless.
    """
    rest = b""
    while True:
        await _ready(descriptor, select.POLLIN)
        data = os.read(descriptor, _CHUNK)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n") if b"\n" in data else [rest + data]
        for line in lines:
            yield line
        if len(rest) > _MAX_LINE:
            raise ValueError(f"there is a line of more than {_MAX_LINE >> 20} MiB")
    if rest:
        yield rest


async def write(descriptor: int, data: bytes) -> None:
    """Write all of it, when it can be written.

    :raises Closed:
    """
    view = memoryview(data)
    while view:
        await _ready(descriptor, select.POLLOUT)
        try:
            # No more than a pipe that is writable takes at once.
            view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]
        except BlockingIOError:
            continue  # another process has filled it
        except OSError:
            # A pipe without a reader, or a terminal that was closed. (A full disk is no Closed.)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise
            raise Closed from None


async def until_closed(descriptor: int) -> None:
    """Wait until nobody reads the pipe any more; for anything but a pipe, for ever."""
    closed = asyncio.get_running_loop().create_future()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        await closed
    # The writing end of a pipe becomes "readable" when the other one goes.
    await _event(descriptor, select.POLLIN)


async def _ready(descriptor: int, event: int) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(0):
        await _event(descriptor, event)


async def _event(descriptor: int, event: int) -> None:
    loop = asyncio.get_running_loop()
    happened = asyncio.Event()
    if event == select.POLLIN:
        loop.add_reader(descriptor, happened.set)
    else:
        loop.add_writer(descriptor, happened.set)
    try:
        await happened.wait()
    finally:
        with contextlib.suppress(OSError):
            if event == select.POLLIN:
                loop.remove_reader(descriptor)
            else:
                loop.remove_writer(descriptor)
