"""One WebSocket that speaks the native protocol."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from notifier.client.backoff import Backoff
from notifier.client.credential import Credential, renew_in
from notifier.client.failures import (
    UNREADABLE,
    BadAnswer,
    ClientError,
    Dismissed,
    Unreachable,
    dismisses,
    is_temporary,
    refusal,
    retry_after,
)
from notifier.client.requests import Requests, translated
from notifier.errors import CommandsTooFast, ExpiredCredential, NotifierError

log = logging.getLogger("notifier.client")

_PATIENCE = 1.5  # how many of the server's ping intervals may pass without a word
_ANSWER_TIMEOUT = 10.0
_FAREWELL = 1.0
_LONGEST = 366 * 86400.0
_FIRST_WAIT = 0.1  # added by chance to what the server said, and doubled each time
_SHOWN_AGAIN = 8  # times that a fresh token is shown
_GRAIN = 0.05  # clocks round
_MAX_HELD_BYTES = 1024 * 1024
# The server bounds messages; this bounds what a server that doesn't can make us hold.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_RENEWAL = "renewal"  # the ref of what shows a fresh token


class Connection:
    """A WebSocket, from its handshake to its close.

    It doubts a silent server: nothing heard for one and a half of its ping intervals, it asks
    for a sign of life, and without one it is lost.
    """

    def __init__(
        self, socket: WebSocketClientConnection, requests: Requests, token: str | None
    ) -> None:
        self._socket = socket
        self._timeout = min(requests.timeout, _ANSWER_TIMEOUT)
        self._longest_wait = requests.max_delay
        self._credential = requests.credential
        self._token = token
        self._stream = socket.stream
        self._waiting_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._watching: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._showing: asyncio.Task[None] | None = None
        self._refusals = Backoff(_FIRST_WAIT, requests.max_delay)
        self._silent = False
        self._ended = False
        self._held: deque[tuple[dict[str, Any], int]] = deque()

    @classmethod
    async def open(cls, requests: Requests) -> Connection:
        """:raises NotifierError: the server refuses; any :class:`ClientError`."""
        handshake, token = await requests.handshake()
        opening = asyncio.ensure_future(
            websocket_connect(handshake, max_message_size=_MAX_MESSAGE_BYTES)
        )
        try:
            # Shielded: a handshake that is given up succeeds all the same, and is closed then.
            made = cls(await asyncio.shield(opening), requests, token)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise
        except WebSocketError as error:
            raise BadAnswer(f"{requests.address} speaks no WebSocket: {error}") from None
        except Exception as error:
            problem = translated(error, requests.address)
            if isinstance(problem, ExpiredCredential):
                requests.credential.drop(token)
            if problem is error:
                raise
            raise problem from error
        if requests.credential.is_renewable:
            made._renewing = asyncio.create_task(made._renew(requests.credential))
        return made

    async def ask(self, commands: Iterable[Mapping[str, Any]], *, until: str) -> None:
        """Send commands, and wait for the answer to the one with the ref ``until``.

        What comes in the meantime is held for :meth:`receive`, ``subscribed`` before the rest:
        so it is known where each channel begins before anything of one is handled. If it becomes
        much, the other answers are not waited for. Commands that came too fast are sent again when
        the server says that they may be.

        :raises NotifierError: one of them was refused.
        """
        asked = {command["ref"]: command for command in commands}
        for command in asked.values():
            await self.send(command)
        rest: list[tuple[dict[str, Any], int]] = []
        size = 0
        unread: list[Mapping[str, Any]] = []
        wait, backoff = 0.0, Backoff(_FIRST_WAIT, self._longest_wait)
        while size < _MAX_HELD_BYTES:
            message, length = await self._next()
            size += length
            ref = message.get("ref")
            if message["type"] == "error":
                problem = refusal(message)
                if not isinstance(problem, CommandsTooFast) or not _is_one_of(ref, asked):
                    raise problem
                unread.append(asked[ref])
                wait = max(wait, retry_after(problem))
            elif ref != until or not unread:
                first = message["type"] in ("welcome", "subscribed")
                (self._held if first else rest).append((message, length))
            # Its answer is the last, of those that were sent with it.
            if ref == until and message["type"] in ("reply", "error"):
                if not unread:
                    break
                await asyncio.sleep(backoff.next(wait))
                for command in [*(one for one in unread if one["ref"] != until), asked[until]]:
                    await self.send(command)
                unread.clear()
        for command in unread:
            await self.send(command)
        self._held += rest

    async def receive(self) -> tuple[dict[str, Any], int]:
        """The next message, and its length.

        :raises Unreachable: the connection was lost.
        :raises Dismissed: it was closed for good.
        :raises BadAnswer: what came is no message.
        """
        return self._held.popleft() if self._held else await self._next()

    async def _next(self) -> tuple[dict[str, Any], int]:
        while True:
            message, size = await self._read()
            # A fresh token that is refused is no end: the one before is good for a while.
            if message.get("ref") != _RENEWAL:
                return message, size
            if message["type"] == "error":
                self._not_shown(refusal(message))
            else:
                self._refusals.reset()

    def _not_shown(self, problem: NotifierError) -> None:
        """The server did not take the fresh token: it is shown again, if that may help."""
        if is_temporary(problem) and self._refusals.tries < _SHOWN_AGAIN:
            wait = self._refusals.next(retry_after(problem))
            self._showing = asyncio.create_task(self._show(after=wait))

    async def _show(self, *, after: float = 0.0) -> None:
        """Show the newest token."""
        await asyncio.sleep(after)
        with suppress(ClientError, ExpiredCredential):  # whoever receives hears of it
            await self.send({"type": "authenticate", "token": self._token, "ref": _RENEWAL})

    async def _read(self) -> tuple[dict[str, Any], int]:
        self._waiting_since = self._loop.time()
        try:
            text = await self._socket.read_message()
        finally:
            self._waiting_since = None
        if text is None:
            self._ended = True
            raise self._lost()
        try:
            message = json.loads(text)
            if not isinstance(message, dict):
                raise TypeError("no object")
            if message["type"] == "welcome" and self._watching is None:
                interval = seconds(message["ping_interval_ms"])
                self._watching = asyncio.create_task(self._watch(interval * _PATIENCE))
        except UNREADABLE:
            raise BadAnswer("what came over the WebSocket is no message of a notifier") from None
        return message, len(text)

    async def send(self, message: Mapping[str, Any]) -> None:
        """:raises Unreachable: the connection was lost."""
        try:
            await self._socket.write_message(json.dumps(message, ensure_ascii=False))
        except WebSocketClosedError:
            raise self._lost() from None

    def abort(self) -> None:
        """Cut it off; who receives is told."""
        self._stream.close()

    async def close(self) -> None:
        """Say farewell and be gone, whatever the server does."""
        for task in (self._watching, self._renewing, self._showing):
            if task is not None:
                task.cancel()
        self._socket.close(1000)
        try:
            async with asyncio.timeout(_FAREWELL):
                while not self._ended:
                    self._ended = await self._socket.read_message() is None
        except TimeoutError:
            pass
        finally:
            self._stream.close()

    def _lost(self) -> Exception:
        code, reason = self._socket.close_code, self._socket.close_reason or ""
        if code == ExpiredCredential.close_code:
            self._credential.drop(self._token)
            return ExpiredCredential(reason or "The time of this key or token is over.")
        if dismisses(code):
            return Dismissed(code or 0, reason)
        if self._silent:
            return Unreachable("the connection was lost: the server did not answer")
        if code is None:
            return Unreachable("the connection was lost")
        return Unreachable(f"the server closed the connection: {reason or 'no reason'} ({code})")

    async def _renew(self, credential: Credential) -> None:
        """Show a fresh token before the one there is is over, as long as it says when."""
        while (left := credential.left()) is not None and left > 0:
            await asyncio.sleep(renew_in(left))
            try:
                self._token = await credential.fresh()
            except (Unreachable, ValueError) as error:
                # Asked again while there is time. When there is none the connection ends, and
                # what keeps the next one from being made is told.
                log.warning("no fresh token: %s", error)
                continue
            await self._show()

    async def _watch(self, limit: float) -> None:
        """End a connection on which the server has fallen silent."""
        while True:
            if self._silence() < limit:
                await asyncio.sleep(max(_GRAIN, limit - self._silence()))
                continue
            try:
                await self._socket.write_message('{"type":"ping"}')
            except WebSocketClosedError:
                return  # whoever receives hears of it
            asked = self._loop.time()
            await asyncio.sleep(self._timeout)
            # Only one who is waiting has heard nothing: a slow reader has not looked.
            if self._waiting_since is not None and self._waiting_since <= asked:
                self._silent = True
                self._stream.close()
                return

    def _silence(self) -> float:
        since = self._waiting_since
        return 0.0 if since is None else self._loop.time() - since


def _is_one_of(ref: object, asked: Mapping[Any, object]) -> bool:
    return isinstance(ref, str | int) and ref in asked


def seconds(milliseconds: float) -> float:
    """:raises ValueError, TypeError, OverflowError: the server told no such span."""
    span = milliseconds / 1000
    if not 0 <= span <= _LONGEST:
        raise ValueError(f"{span} s")
    return span


def _close_late(opening: asyncio.Future[WebSocketClientConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        socket = opening.result()
        socket.close()
        socket.stream.close()
