"""How long a connection may keep us waiting for a request."""

from __future__ import annotations

import logging

from tornado.http1connection import HTTP1ServerConnection

from handlers.deadlines import Deadlines
from notifier import logs
from notifier.config import Settings
from notifier.counts import Counts
from notifier.errors import BodyStalled, HeadStalled

log = logging.getLogger("notifier.http")


class Patience:
    """How long heads and bodies may take, and a connection be idle; who takes longer is cut off.

    Tornado's own limits cost a timer, two futures and a turn of the event loop for each head, and
    for each body a task as well.

    :ivar unending: those that send a body which may go on for ever; who reads it looks after it.
    """

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self.heads = Deadlines(settings.header_timeout, self._late_head)
        self.bodies = Deadlines(settings.body_timeout, self._late_body)
        self.unending: set[HTTP1ServerConnection] = set()
        self._counts = counts

    def ended(self, connection: HTTP1ServerConnection) -> None:
        """The body is all there."""
        self.bodies.end(connection)
        self.unending.discard(connection)

    def closed(self, connection: HTTP1ServerConnection) -> None:
        """The connection is gone, or no longer HTTP."""
        self.heads.end(connection)
        self.ended(connection)

    def _late_head(self, connection: HTTP1ServerConnection) -> None:
        # One of which nothing has come is no request, but a connection that is idle.
        if connection.stream._read_buffer_size:
            self._counts.errors[HeadStalled.code] += 1
            logs.event(log, logging.INFO, "head.late", remote=str(connection.context))
        connection.stream.close()

    def _late_body(self, connection: HTTP1ServerConnection) -> None:
        self._counts.errors[BodyStalled.code] += 1
        logs.event(log, logging.INFO, "body.late", remote=str(connection.context))
        connection.stream.close()
