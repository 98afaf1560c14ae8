"""A response without an end: a connection that is written to for as long as it lasts."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterable

from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, StreamClosedError

from handlers.linger import LINGER_SECONDS
from handlers.stream import let_go
from handlers.tls import outlet
from notifier import logs
from notifier.auth.identity import Identity
from notifier.errors import Draining, NotifierError
from notifier.node import Node
from notifier.wire import messages
from notifier.wire.prepared import Format, Tailor

log = logging.getLogger("notifier.stream")


class Outflow:
    """One event stream; a :class:`~notifier.connections.Connection` of the node.

    :ivar identity: who listens.
    :ivar address: where it comes from.
    :param transport: one of :data:`~notifier.counts.TRANSPORTS`.
    :param alive: the bytes that show this one is alive when nothing else is sent.
    :param last: the bytes that end the response.
    :param names: the channels and patterns it is for.
    :param refuse: tells this one why it ends for good, and ends it.
    """

    def __init__(
        self,
        node: Node,
        stream: IOStream,
        format: Format,
        *,
        request: HTTPServerRequest,
        identity: Identity,
        transport: str,
        alive: Callable[[Outflow], bytes],
        last: bytes,
        names: Iterable[str],
        refuse: Callable[[Outflow, NotifierError], None],
        tailor: Tailor | None = None,
    ) -> None:
        self.id = node.new_id()
        self.since_ms = node.now_ms()
        self.identity = identity
        # Nobody answers here: whether a peer is there, its TCP tells.
        self.heard = True
        # All that was wanted has been joined; until then no place is told, for it would be half.
        self.joined = False
        self._stream = stream
        self._alive = alive
        self._last = last
        self._names = set(names)
        self._refuse = refuse
        self.address = str(request.remote_ip)
        self._path = request.path
        self._patience: asyncio.TimerHandle | None = None
        self.sink = node.connections.sink(
            outlet(stream), format, transport=transport, tailor=tailor
        )
        stream.set_nodelay(True)
        self.sink.cork()
        _give_up_after(stream.socket, node.settings.stalled_seconds)

    async def run(self) -> None:
        """Stay until the peer has gone; what it sends is dropped."""
        logs.event(
            log,
            logging.INFO,
            "connection.opened",
            connection=self.id,
            remote=self.address,
            path=self._path,
        )
        try:
            while True:
                await self._stream.read_bytes(65536, partial=True)
                # Reading does not wait while there is something to read.
                await asyncio.sleep(0)
        except StreamClosedError:
            # Nobody says goodbye here: hanging up is how a client leaves.
            gone = "stalled" if _timed_out(self._stream.error) else "client"
            self.sink.ended = self.sink.ended or gone
            logs.event(log, logging.INFO, "connection.closed", connection=self.id)

    def begin(self, first: bytes = b"") -> None:
        """All that was wanted has been joined: let publications come."""
        self.joined = True
        if first:
            self.sink.write(first)
        self.sink.uncork()

    def say(self, kind: str, message: bytes) -> None:
        """Send a message of the server's own."""
        self.sink.say(kind, message)

    def finish(self, why: str) -> None:
        """End the response in good order; the peer has some seconds to hang up.

        :param why: the code that a WebSocket would be closed with.
        """
        if self.sink.closed:
            return
        flush = self.sink.finish(self._last, why)
        if flush is not None:
            flush.add_done_callback(lambda _: self._half_close())
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(LINGER_SECONDS, self._stream.close)

    def close(self) -> None:
        """Hang up at once."""
        if self._patience is not None:
            self._patience.cancel()
        self.sink.closed = True
        self._stream.close()
        let_go(self._stream)

    def _half_close(self) -> None:
        """A close with unread input would be a reset, which throws away what was sent last."""
        if not self._stream.closed():
            with contextlib.suppress(OSError):  # the peer was quicker
                self._stream.socket.shutdown(socket.SHUT_WR)

    # --- the node's Connection ---

    def ask(self) -> None:
        self.heard = True
        if self.joined:
            self.sink.write(self._alive(self))

    def dead(self, reason: str) -> None:
        logs.event(log, logging.INFO, "connection.dead", connection=self.id, reason=reason)
        self.sink.abort(reason)

    def reconnect(self, after_ms: int) -> None:
        self.say("reconnect", messages.reconnect(after_ms))

    def dismiss(self, refusal: type[NotifierError] = Draining) -> None:
        self.finish(str(refusal.close_code))

    def end(self, refusal: NotifierError) -> None:
        self._refuse(self, refusal)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        self._names.discard(name)
        if self._names:
            message = messages.unsubscribed(name, code=refusal.code, reason=refusal.message)
            self.say("unsubscribed", message)
        else:
            self._refuse(self, refusal)


def _timed_out(error: BaseException | None) -> bool:
    """Whether the kernel has given the connection up."""
    return isinstance(error, OSError) and error.errno == errno.ETIMEDOUT


def _give_up_after(connection: socket.socket, seconds: float) -> None:
    """Have the kernel end the connection when what was sent is not acknowledged for so long.

    Nobody else would notice that a peer has vanished to which all could be sent: it has nothing to
    answer, and what waits in the kernel alone does not make it blocked (keepalive.py). The kernel
    also ends some that read, a few bytes at a time (unread.py). Here that is bearable: they come
    back to where they were, while an answer would be lost.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere it takes the kernel's own patience
        milliseconds = max(1, round(seconds * 1000))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
