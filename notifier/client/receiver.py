"""The task of a subscription: connections, one after the other, into its buffer."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any

from notifier.client.backoff import Backoff
from notifier.client.buffer import Buffer
from notifier.client.connection import Connection, seconds
from notifier.client.failures import (
    UNREADABLE,
    BadAnswer,
    Unreachable,
    is_temporary,
    retry_after,
)
from notifier.client.notification import Change
from notifier.client.reader import ATTACHED, LEAVE, Entry, Reader
from notifier.client.requests import Requests
from notifier.errors import ExpiredCredential

_FIRST_DELAY = 1.0
_STABLE_AFTER = 5.0  # a connection that lives this long takes the back-off to its start
_FAREWELL = 5.0  # how long a connection that is left may take to deliver what it still has


class Receiver:
    """Receives until a permanent refusal, which the buffer is closed with."""

    def __init__(
        self, requests: Requests, reader: Reader, buffer: Buffer[Entry], *, reconnect: bool
    ) -> None:
        self._requests = requests
        self._reader = reader
        self._buffer = buffer
        self._reconnect = reconnect

    async def run(self) -> None:
        try:
            await self._persist()
        except Exception as error:  # noqa: BLE001 -- raised where the iteration is
            self._buffer.close(error)

    async def _persist(self) -> None:
        backoff = Backoff(_FIRST_DELAY, self._requests.max_delay)
        loop = asyncio.get_running_loop()
        renewed = -math.inf
        while True:
            opened = None
            try:
                connection = await self._connect()
                opened = loop.time()
                await self._follow(connection)
            except Exception as problem:
                if not self._reconnect or not self._may_pass(problem):
                    raise
                if opened is not None and loop.time() - opened >= _STABLE_AFTER:
                    backoff.reset()
                wait = backoff.next(retry_after(problem))
                if isinstance(problem, ExpiredCredential):
                    # At once, but where fresh ones are over as well.
                    if loop.time() - renewed >= _FIRST_DELAY:
                        wait = 0.0
                    renewed = loop.time()
                change = Change("waiting", str(problem), wait)
            await self._buffer.put(Entry(change), 0)
            await asyncio.sleep(wait)

    def _may_pass(self, problem: Exception) -> bool:
        renewable = self._requests.credential.is_renewable
        return is_temporary(problem) or (renewable and isinstance(problem, ExpiredCredential))

    async def _connect(self) -> Connection:
        """A connection on which all is subscribed, from where we are."""
        connection = await Connection.open(self._requests)
        try:
            async with asyncio.timeout(self._requests.timeout):
                await connection.ask(self._reader.commands(), until=ATTACHED)
        except TimeoutError:
            await connection.close()
            raise Unreachable("the server did not answer") from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _follow(self, connection: Connection) -> None:
        """Receive from it, and from those it is handed over to, until one is lost.

        The next connection is made while this one still delivers. It begins at a place that this
        one goes beyond in the meantime: what it delivers again is passed over by the reader.
        """
        successor: asyncio.Task[Connection] | None = None
        self._reader.begin()
        try:
            while True:
                try:
                    message, size = await connection.receive()
                except Exception as problem:
                    if successor is None or not self._may_pass(problem):
                        raise
                    if not successor.done():
                        await self._buffer.put(Entry(Change("waiting", str(problem))), 0)
                    message, size = {"type": "reply", "ref": LEAVE}, 0
                if message["type"] == "reconnect" and successor is None and self._reconnect:
                    successor = asyncio.create_task(self._succeed(connection, _slot(message)))
                    await self._buffer.put(Entry(Change("moving", "the server is leaving")), 0)
                elif message.get("ref") == LEAVE and successor is not None:
                    old, connection, successor = connection, await successor, None
                    await old.close()
                    self._reader.begin()
                else:
                    await self._take(message, size)
        finally:
            if successor is not None:
                await _give_up(successor)
            await connection.close()

    async def _take(self, message: dict[str, Any], size: int) -> None:
        try:
            entries = list(self._reader.read(message))
        except UNREADABLE as error:
            raise _unreadable(error) from error
        for entry in entries:
            await self._buffer.put(entry, size)

    async def _succeed(self, old: Connection, delay: float) -> Connection:
        """The connection that takes over, once all is subscribed there."""
        await asyncio.sleep(delay)
        backoff = Backoff(_FIRST_DELAY, self._requests.max_delay)
        while True:
            try:
                connection = await self._connect()
                break
            except Exception as problem:
                if not self._may_pass(problem):
                    raise
            await asyncio.sleep(backoff.next())
        with suppress(Unreachable):
            # Its answer comes after all that was sent to the old one before.
            await old.send({"type": "ping", "ref": LEAVE})
        asyncio.get_running_loop().call_later(_FAREWELL, old.abort)
        return connection


def _slot(message: dict[str, Any]) -> float:
    """In how many seconds the server wants us to make the next connection."""
    try:
        return seconds(message.get("after_ms", 0))
    except UNREADABLE as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> BadAnswer:
    return BadAnswer(f"the server sent a message that can't be read: {error!r}")


async def _give_up(successor: asyncio.Task[Connection]) -> None:
    successor.cancel()
    await asyncio.wait([successor])
    if not successor.cancelled() and successor.exception() is None:
        await successor.result().close()
