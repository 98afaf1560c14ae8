"""Tornado's WebSocket protocol with one door out, and a Close frame the peer really gets.

What is relied on of Tornado's internals is pinned by ``tests/handlers/test_tornado_contract.py``.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Awaitable
from time import monotonic
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from handlers.linger import linger
from handlers.stream import has_hung_up, let_go
from notifier.sink import Sink
from notifier.wire import deflate
from notifier.wire.websocket import RSV1, Opcode, frame, may_be_sent

# How long a peer has to answer our Close frame.
CLOSE_SECONDS = 5.0

# Tornado counts a control frame that comes between fragments towards their message's size: its
# limit is set this much higher (the most a control frame holds), and ours checked at the end.
CONTROL_BYTES = 125

# A peer that sends at least this much between two pings is not taken for dead.
PIECE_BYTES = 16384

# How long one peer is read without a pause; then everybody else has a turn. With a hundred that
# send all they can, the others wait a tenth of a second.
BREATH_SECONDS = 0.001

# For so long, or longer if need be, nothing is read from who sends too fast: so it is told of that
# ten times a second at most, and its flood waits where it comes from.
PAUSE_SECONDS = 0.1

# Fragments of at least so much count by their bytes alone.
FRAGMENT_BYTES = 1024

PROTOCOL_ERROR = 1002
NO_CODE = 1005
INVALID_DATA = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011


class Protocol(WebSocketProtocol13):
    """RFC 6455 by Tornado; ours are the writing, the close codes and the closing."""

    sink: Sink | None = None
    stream: IOStream | None  # type: ignore[assignment]  # there is none before the handshake
    # What to close with when Tornado gives up on the connection without a word.
    failure = PROTOCOL_ERROR
    # The peer has said Close; ours, if it is yet to come, is the answer.
    _leaving = False
    _lingering: asyncio.Task[None] | None = None
    _patience: asyncio.TimerHandle | None = None
    _pause_at = 0.0
    # The first two bytes of the next frame, read or yet to come; and who reads frames just now.
    _head: asyncio.Future[bytes] | None = None
    _reading: asyncio.Task[None] | None = None
    _listening = False
    # permessage-deflate: whether it may be negotiated, and whether it was.
    may_deflate = False
    deflates = False
    # Bytes there are of a message that comes in fragments.
    _assembled = 0
    # The message under way is compressed.
    _compressed = False
    # What Tornado's limit for a message is above ours.
    _slack = CONTROL_BYTES

    def _write_frame(
        self, fin: bool, opcode: int, data: bytes, flags: int = 0
    ) -> asyncio.Future[None]:
        """Pongs, Close and all else Tornado sends: by the sink, like everything."""
        assert self.sink is not None
        whole = frame(data, opcode)
        if opcode == Opcode.CLOSE:
            why = "client" if self._leaving else str(int.from_bytes(data[:2]) or NO_CODE)
            flush = self.sink.finish(whole, why)
        else:
            flush = self.sink.write(whole)
        if flush is None:
            raise StreamClosedError()
        assert isinstance(flush, asyncio.Future)
        return flush

    def _parse_extensions_header(self, headers: HTTPHeaders) -> list[tuple[str, dict[str, str]]]:
        """Negotiate; Tornado, to whom nothing is told of it, leaves what is compressed to us."""
        if self.may_deflate:
            answer = deflate.negotiate(headers.get("Sec-WebSocket-Extensions", ""))
            if answer is not None:
                self.handler.set_header(  # type: ignore[attr-defined]
                    "Sec-WebSocket-Extensions", answer
                )
                self.deflates = True
                limit = self.params.max_message_size
                self.params.max_message_size = deflate.longest(limit)
                self._slack += self.params.max_message_size - limit
        return []

    async def _accept_connection(self, handler: WebSocketHandler) -> None:
        try:
            await super()._accept_connection(handler)
        finally:
            if not self._listening:
                # Tornado forgets to when open() fails; told twice, the handler listens once.
                self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    async def _receive_frame_loop(self) -> None:
        """Begin to listen. Tornado would stay here for as long as the connection lives, with the
        dozen coroutines that led here: most of what an idle connection costs (ADR 0007).
        """
        self._listening = True
        self.handler.settled()  # type: ignore[attr-defined]
        self._await_frame()

    def _await_frame(self) -> None:
        """Have a task read frames when there are any; until then nothing waits but the stream."""
        assert self.stream is not None
        try:
            self._head = asyncio.ensure_future(self.stream.read_bytes(2))
        except StreamClosedError:
            self._ended()
            return
        self._head.add_done_callback(self._frame_came)

    def _frame_came(self, head: asyncio.Future[bytes]) -> None:
        self._reading = asyncio.create_task(self._receive_frames())

    async def _receive_frames(self) -> None:
        """Read frames for as long as there are any."""
        self._pause_at = monotonic() + BREATH_SECONDS
        try:
            while True:
                await self._receive_frame()
                if self.client_terminated:
                    break
                assert self.stream is not None
                self._head = asyncio.ensure_future(self.stream.read_bytes(2))
                if not self._head.done():
                    self._head.add_done_callback(self._frame_came)
                    self._reading = None
                    return
        except (StreamClosedError, asyncio.CancelledError):
            self._abort()
        except Exception:  # noqa: BLE001
            self.handler.log_exception(*sys.exc_info())
            self._abort()
        self._ended()

    def _ended(self) -> None:
        self._reading = None
        self._abort()
        if self.stream is not None and self.stream.closed():
            let_go(self.stream)
        self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    async def _receive_frame(self) -> None:
        if monotonic() >= self._pause_at:
            # Most is dealt with on the spot, and reading does not wait while there is something
            # to read.
            await asyncio.sleep(0)
            self._pause_at = monotonic() + BREATH_SECONDS
        self._frame_mask = None
        await super()._receive_frame()
        # Also fragments, of which the last alone is handled.
        if not self.client_terminated and self._check_masked():
            self._check_begun()
        if self._fragmented_message_buffer is not None or self._assembled:
            await self._count_fragment()

    async def _count_fragment(self) -> None:
        """A message in many small pieces is read as slowly as if they were messages."""
        message = self._fragmented_message_buffer
        before, self._assembled = self._assembled, 0 if message is None else len(message)
        if message is None or self._assembled - before >= FRAGMENT_BYTES:
            return
        wait = self.handler.too_soon()  # type: ignore[attr-defined]
        if wait:
            await self.pause(wait)

    async def _read_bytes(self, n: int) -> bytes:
        """A long payload piece by piece, each of them a sign of life."""
        if self._head is not None:
            head, self._head = self._head, None
            try:
                start = await head
            finally:
                # What it failed with would hold this frame, this frame it, and both the connection.
                del head
            return self._note_compression(start) if self.deflates else start
        if n <= PIECE_BYTES:
            return await super()._read_bytes(n)
        data = bytearray()
        while len(data) < n:
            data += await super()._read_bytes(min(PIECE_BYTES, n - len(data)))
            self.handler.heard = True  # type: ignore[attr-defined]
        return bytes(data)

    def _note_compression(self, head: bytes) -> bytes:
        """The start of a frame without RSV1, where that says that a message is compressed.

        Elsewhere (RFC 7692 §6.1: on continuations and control frames) Tornado refuses it.
        """
        if head[0] & 0x0F not in (Opcode.TEXT, Opcode.BINARY):
            return head
        self._compressed = bool(head[0] & RSV1)
        return bytes((head[0] & ~RSV1, head[1]))

    def _check_masked(self) -> bool:
        """RFC 6455 §5.1: a client's frames are masked; Tornado takes others as well."""
        if self._frame_mask is None:
            self.fail(PROTOCOL_ERROR, "a frame that is not masked")
            return False
        return True

    def _check_begun(self) -> None:
        """RFC 6455 §5.2: a message of a kind that is not known ends the connection; Tornado looks
        when its last fragment is there."""
        begun = self._fragmented_message_buffer is not None
        if begun and self._fragmented_message_opcode not in (Opcode.TEXT, Opcode.BINARY):
            self.fail(PROTOCOL_ERROR, "a message of an unknown kind")

    def _handle_message(  # type: ignore[override]  # which is awaited, whatever it is
        self, opcode: int, data: bytes
    ) -> Awaitable[None] | None:
        if self.client_terminated or not self._check_masked():
            return None
        if self.server_terminated and opcode in (Opcode.TEXT, Opcode.BINARY):
            # Who was told that it has ended may go on sending for as long as it has to answer that.
            return None
        limit = self.params.max_message_size - self._slack
        if self._compressed and opcode in (Opcode.TEXT, Opcode.BINARY):
            try:
                data = deflate.inflate(data, limit)
            except ValueError:
                self.fail(INVALID_DATA, "a compressed message that can't be inflated")
                return None
        if len(data) > limit:
            self.fail(TOO_BIG, "message too big")
            return None
        self.handler.heard = True  # type: ignore[attr-defined]
        if opcode == Opcode.TEXT:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.fail(INVALID_DATA, "text that is not UTF-8")
                return None
            return self._handle(text)
        if opcode == Opcode.CLOSE:
            self._handle_close(data)
            return None
        if opcode == Opcode.BINARY:
            return self._handle(data)
        handled = super()._handle_message(opcode, data)
        if opcode in (Opcode.PING, Opcode.PONG):
            wait = self.handler.too_soon()  # type: ignore[attr-defined]
            return self.pause(wait) if wait else None
        return handled

    async def _handle(self, message: str | bytes) -> None:
        """Have the handler take it. Tornado would make a task of that, and wait for a turn."""
        try:
            taken = self.handler.on_message(message)
            if taken is not None:
                await taken
        except Exception:  # noqa: BLE001 -- as Tornado does
            self.handler.log_exception(*sys.exc_info())
            self._abort()

    async def pause(self, seconds: float) -> None:
        """Read nothing from who sends too fast, for so long at least.

        :raises StreamClosedError: it has left, and what else it has sent is for nobody: there may
            be minutes' worth of it.
        """
        await asyncio.sleep(max(seconds, PAUSE_SECONDS))
        if self.stream is None or self.stream.closed() or has_hung_up(self.stream.socket):
            raise StreamClosedError

    def _handle_close(self, data: bytes) -> None:
        """The peer's Close: answered, unless it is what we waited for."""
        code = int.from_bytes(data[:2]) if len(data) > 1 else 0
        if data and not may_be_sent(code):
            self.fail(PROTOCOL_ERROR, "a close code that must not be sent")
            return
        try:
            data[2:].decode()
        except UnicodeDecodeError:
            self.fail(INVALID_DATA, "a close reason that is not UTF-8")
            return
        self._leaving = True
        super()._handle_message(Opcode.CLOSE, data)
        self._abort()

    def fail(self, code: int, reason: str) -> None:
        """The peer broke the protocol: tell it, and stop reading."""
        self.close(code, reason)
        self._abort()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Send Close, once. The peer has some seconds to answer it."""
        if self.server_terminated:
            return
        self.server_terminated = True
        if self.stream is None or self.stream.closed():
            return
        payload = b"" if code is None else struct.pack("!H", code) + _fitting(reason or "")
        try:
            self._write_frame(True, Opcode.CLOSE, payload)
        except StreamClosedError:
            return
        if not self.client_terminated:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(CLOSE_SECONDS, self.stream.close)

    def _abort(self) -> None:
        """Tornado gives up on the connection, or is done with it."""
        said_goodbye = self.client_terminated
        self.client_terminated = True  # ends the reading
        if self._patience is not None:
            self._patience.cancel()
        if self._lingering is not None or self.stream is None or self.stream.closed():
            self.server_terminated = True
            return
        if said_goodbye and self.server_terminated and not self.stream.writing():
            self.stream.close()  # both have said Close: it is the server who hangs up
            return
        self.close(self.failure)
        self._lingering = asyncio.create_task(linger(self.stream))


def _fitting(reason: str) -> bytes:
    """As much of the reason as a Close frame holds, cut between characters."""
    return reason.encode()[:123].decode(errors="ignore").encode()


def adopt(protocol: Any, *, may_deflate: bool) -> Protocol | None:
    """The protocol Tornado chose for a handler, as ours; ``None`` when it chose none."""
    if protocol is None:
        return None
    ours = Protocol(protocol.handler, mask_outgoing=False, params=protocol.params)
    if may_deflate:
        ours.may_deflate = True
    return ours
