"""How long a connection may keep us waiting for a request."""

from __future__ import annotations

import logging

from tornado.http1connection import HTTP1ServerConnection

from handlers.deadlines import Deadlines
from notifier import logs
from notifier.config import Settings

log = logging.getLogger("notifier.http")


class Patience:
    """How long heads and bodies may take, and a connection be idle; who takes longer is cut off.

    Tornado's own limits cost a timer, two futures and a turn of the event loop for each head, and
    for each body a task as well.
    """

    def __init__(self, settings: Settings) -> None:
        self.heads = Deadlines(settings.header_timeout, _close)
        self.bodies = Deadlines(settings.body_timeout, _give_up)

    def closed(self, connection: HTTP1ServerConnection) -> None:
        """The connection is gone, or no longer HTTP."""
        self.heads.end(connection)
        self.bodies.end(connection)


def _close(connection: HTTP1ServerConnection) -> None:
    connection.stream.close()


def _give_up(connection: HTTP1ServerConnection) -> None:
    logs.event(log, logging.INFO, "body.late", remote=str(connection.context))
    connection.stream.close()
