"""Who is answered over HTTP and reads nothing of it."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Collection, Container

from tornado.http1connection import HTTP1ServerConnection

from handlers.stream import unacknowledged
from notifier import logs
from notifier.backlog import those_over
from notifier.counts import Counts
from notifier.errors import AnswerUnread

log = logging.getLogger("notifier.http")

LOOK_SECONDS = 1.0


class Unread:
    """Looks every now and then who takes nothing of an answer that waits; who does not is cut off.

    The kernel would do it as well (TCP_USER_TIMEOUT), but not everywhere, and not justly: it counts
    from when the peer's window closed, and cuts off who reads a little all the time. For event
    streams it has to do (outflow.py).

    :param counts: in which they are counted.
    :param seconds: for which nothing may be taken.
    :param max_bytes: of what waits for all together; of more, those go for whom most waits. 0: any.
    :param sending: who may read when all of its body is sent. It is judged from then on, but that
        what waits for it counts.
    """

    def __init__(
        self,
        counts: Counts,
        seconds: float,
        max_bytes: int,
        *,
        sending: Container[HTTP1ServerConnection] = (),
    ) -> None:
        self._counts = counts
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._sending = sending
        self._look_at = 0.0
        # Those for whom something waits: the most bytes they were seen to have taken, and when.
        self._taken: dict[HTTP1ServerConnection, tuple[int, float]] = {}

    def sweep(self, connections: Collection[HTTP1ServerConnection], now: float) -> None:
        """Look, if it is time to.

        :param connections: all that speak HTTP; those that have become another thing are not.
        :param now: seconds, monotonic.
        """
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        waiting = [connection for connection in connections if connection.stream.writing()]
        before, self._taken = self._taken, {}
        for connection in waiting:
            taken = _taken(connection)
            most, since = before.get(connection, (-1, now))
            if connection in self._sending:
                self._taken[connection] = (taken, now)
            elif taken <= most and now - since >= self._seconds:
                self._cut_off(connection, "stalled")
            else:
                self._taken[connection] = (most, since) if taken <= most else (taken, now)
        self._cut_backlog()

    def _cut_backlog(self) -> None:
        sizes = [(len(one.stream._write_buffer), one) for one in self._taken]
        for connection in those_over(self._max_bytes, sizes):
            del self._taken[connection]
            self._cut_off(connection, "backlog")

    def _cut_off(self, connection: HTTP1ServerConnection, reason: str) -> None:
        self._counts.errors[AnswerUnread.code] += 1
        remote = str(connection.context)
        logs.event(log, logging.INFO, "answer.unread", remote=remote, reason=reason)
        # With a reset: else the kernel goes on for minutes to offer what it has, and holds it.
        connection.stream.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        connection.stream.close()


def _taken(connection: HTTP1ServerConnection) -> int:
    """Bytes that the peer has acknowledged; where the kernel does not tell, that it was given."""
    stream = connection.stream
    return stream._total_write_done_index - unacknowledged(stream.socket.fileno())
