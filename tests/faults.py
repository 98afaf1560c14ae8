"""A TCP proxy that fails on demand: what a bad network does, without needing one.

It runs on a thread of its own, so that synchronous and asynchronous tests can use it alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: no farewell, the peer gets a reset
CHUNK = 64 * 1024
# A deadlock, not slowness: far above what anything here takes on a slow machine.
PATIENCE = 60.0


class FaultProxy:
    """Forwards connections on 127.0.0.1:`port` to `target_port`, until told otherwise.

    Use as a context manager. `target_port` may be set at any time, for connections to come.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.accepted = 0
        # For each connection to come, how many bytes its client gets before both ends are reset.
        self.allowances: Iterator[int] = iter(())
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open through it now."""
        return len(self._connections)

    def cut(self) -> None:
        """Resets every connection, towards both ends: not a byte more passes when it returns.

        New ones are accepted as before.
        """
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(PATIENCE)

    def refuse(self) -> None:
        """Resets each new connection at once, until `accept`. Present ones go on."""
        self._refusing = True

    def accept(self) -> None:
        """Ends `refuse`."""
        self._refusing = False

    def stall(self) -> None:
        """Forwards no byte more in either direction, and closes nothing, until `flow`."""
        self._do(self._flowing.clear)

    def flow(self) -> None:
        """Ends `stall`: what was held back goes on its way."""
        self._do(self._flowing.set)

    def _do(self, action: Callable[[], object]) -> None:
        """Runs an action on the proxy's loop and waits for it."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(), done.set()))
        if not done.wait(PATIENCE):
            raise TimeoutError("the proxy's loop is stuck")

    async def _cut(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accepted, "127.0.0.1", 0)

    async def _stop(self) -> None:
        assert self._server is not None
        # Those accepted just now have no task yet that could be cut: they need some turns more, and
        # asyncio loses their sockets where the server is closed before (Server._attach).
        for listener in self._server.sockets:
            self._loop.remove_reader(listener.fileno())
        self._refusing = True
        await self._cut()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        self._server.close()
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._forward(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass  # a cut is what this is for, and an end that is gone needs no more forwarding
        finally:
            self._connections.discard(task)
            _reset(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        allowance = next(self.allowances, None)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, back))
                pumps.create_task(self._pump(there, writer, allowance))
        except* ConnectionError:
            pass
        finally:
            _reset(back)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        allowance: int | None = None,
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._flowing.wait()
            writer.write(data[:allowance])
            await writer.drain()
            if allowance is not None:
                allowance -= len(data)
                if allowance <= 0:
                    await asyncio.sleep(0.01)  # a reset overtakes what the peer has not read
                    raise ConnectionResetError
        await self._flowing.wait()
        if writer.can_write_eof():
            with contextlib.suppress(OSError):  # its end was reset in the meantime
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
