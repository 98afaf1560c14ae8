"""The plain HTTP handler: admission, bounded bodies, errors that explain themselves."""

from __future__ import annotations

import sys
from typing import Any

from pydantic_core import to_json
from tornado.http1connection import HTTP1Connection
from tornado.web import RequestHandler, stream_request_body

from handlers import door
from handlers.linger import LINGER_BYTES, linger
from handlers.policy import Policy
from notifier.errors import BodyTooLarge, NotifierError
from notifier.node import Node


@stream_request_body
class Handler(RequestHandler):
    """Bodies are streamed, so that one over the limit is refused before it is read."""

    def initialize(self, node: Node, policy: Policy) -> None:
        self.node = node
        self._policy = policy
        self.body = bytearray()
        self._dropped = 0
        # The refusal has been sent, though the body is still being read away.
        self.refused = False

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")

    async def prepare(self) -> None:
        # We count ourselves: Tornado answers an over-long body with a bare 400.
        assert isinstance(self.request.connection, HTTP1Connection)
        self.request.connection.set_max_body_size(sys.maxsize)
        try:
            door.admit(self.request, self.node.settings, self._policy)
            declared = self.request.headers.get("Content-Length", "0")
            if declared.isascii() and declared.isdigit():
                self._check_size(int(declared[:15]))
        except NotifierError as error:
            await self._refuse_unread(error)

    def _check_size(self, size: int) -> None:
        limit = self.node.settings.max_body_bytes
        if size > limit:
            raise BodyTooLarge(
                f"The body is over {limit} bytes (setting max_body_bytes).", limit=limit
            )

    async def _refuse_unread(self, error: NotifierError) -> None:
        """Answer before the body is read, so that a client still sending gets to see it."""
        headers = self.request.headers
        expects_body = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
        if not expects_body or "Expect" in headers:
            raise error  # nothing is on its way that could turn our close into a reset
        body = door.refuse(self, error)
        self.set_header("Connection", "close")
        self.set_header("Content-Length", str(len(body)))
        self.write(body)
        await self.flush()
        self._log()
        self._finished = True  # for Tornado: no method is to be called
        await linger(self.detach())

    async def data_received(self, chunk: bytes) -> None:
        """A piece of the body; only a chunked one can turn out too long here."""
        if self.refused:
            self._dropped += len(chunk)
            if self._dropped > LINGER_BYTES:
                assert isinstance(self.request.connection, HTTP1Connection)
                self.request.connection.close()
            return
        self.body += chunk
        try:
            self._check_size(len(self.body))
        except NotifierError as error:
            self.refused = True
            self.body.clear()
            body = door.refuse(self, error)
            self.set_header("Connection", "close")
            self.set_header("Content-Length", str(len(body)))
            self.write(body)
            await self.flush()

    def answer(self, value: object, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(to_json(value) + b"\n")

    def options(self, *_: str) -> None:
        self.set_header("Allow", ", ".join(door.allowed_methods(self)))
        self.set_status(204)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.finish(door.refuse(self, door.translate(self, error)))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        door.log_failure(self, value)


class NotFound(Handler):
    """Where no route leads."""

    async def prepare(self) -> None:
        await super().prepare()
        if not self._finished:
            await self._refuse_unread(door.nothing_at(self.request.path))
