"""A request as it comes in: its head finds its handler, then its body comes, each in its time."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

from handlers.base import Handler
from handlers.deadlines import Deadlines
from notifier import logs
from notifier.config import Settings

log = logging.getLogger("notifier.http")

# A body that says that it is no longer than this is collected, and its handler begins when it is
# there; a longer one is read by its handler.
WHOLE_BYTES = 1 << 16
_DIGITS = len(str(WHOLE_BYTES))


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


class Arrival(HTTPMessageDelegate):
    """What Tornado tells of one request.

    :param find: the delegate of what serves it.
    """

    def __init__(
        self,
        server_connection: HTTP1ServerConnection,
        connection: HTTPConnection,
        patience: Patience,
        find: Callable[[HTTPServerRequest], HTTPMessageDelegate],
    ) -> None:
        self._server_connection = server_connection
        self._connection = connection
        self._patience = patience
        self._find = find
        self._delegate: HTTPMessageDelegate | None = None
        patience.heads.begin(server_connection)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._patience.heads.end(self._server_connection)
        # RFC 9112 §6.1: HTTP/1.0 has no chunks. Who stands between may have read it otherwise.
        if start_line.version == "HTTP/1.0" and "Transfer-Encoding" in headers:
            raise HTTPInputError("a transfer coding in HTTP/1.0")
        request = HTTPServerRequest(
            connection=self._connection,
            server_connection=self._server_connection,
            start_line=cast(RequestStartLine, start_line),
            headers=headers,
        )
        self._delegate = self._find(request)
        admitting = self._delegate.headers_received(start_line, headers)
        if admitting is not None:
            return self._admit(admitting)
        self._patience.bodies.begin(self._server_connection)
        return None

    async def _admit(self, admitting: Awaitable[None]) -> None:
        await admitting
        handler = getattr(self._delegate, "handler", None)
        if not isinstance(handler, Handler) or handler.timed_body:
            self._patience.bodies.begin(self._server_connection)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._delegate is not None
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        assert self._delegate is not None
        self._patience.bodies.end(self._server_connection)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate is not None:
            self._delegate.on_connection_close()


def comes_whole(target: type[Handler], request: HTTPServerRequest) -> bool:
    """Whether the handler begins when the request's body, if any, is all there."""
    headers = request.headers
    if "Transfer-Encoding" in headers or target.reads_as_it_comes(request):
        return False
    declared = headers.get("Content-Length", "0")
    # What is no short number is for the handler or for Tornado to refuse.
    short = len(declared) <= _DIGITS and declared.isascii() and declared.isdigit()
    return short and int(declared) <= WHOLE_BYTES


class Whole(HTTPMessageDelegate):
    """A request whose handler begins when its body is there; it is refused before that.

    Tornado's way with streamed bodies begins the handler at once and has it wait for the body:
    two futures and two turns of the event loop more.
    """

    def __init__(self, handler: Handler, path_args: list[bytes]) -> None:
        self._handler = handler
        self._path_args = path_args
        # As Tornado would have it when the handler begins.
        handler.path_args = [handler.decode_argument(part) for part in path_args]
        # For Tornado, the handler streams its body, and has all of it.
        handler.request._body_future = whole = asyncio.get_running_loop().create_future()
        whole.set_result(None)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return None if self._handler.admit() else self._execute()

    def data_received(self, chunk: bytes) -> None:
        if self._handler.takes_body:
            self._handler.body += chunk

    def finish(self) -> None:
        steps = self._execute()
        if self._handler.prompt:
            try:
                awaited = steps.send(None)
            except StopIteration:
                return
            steps = _go_on(steps, awaited)
        task = asyncio.get_running_loop().create_task(steps)
        # What a handler raises it answers itself; this is for a fault of Tornado.
        task.add_done_callback(lambda task: task.cancelled() or task.result())

    def on_connection_close(self) -> None:
        self._handler.on_connection_close()

    def _execute(self) -> Coroutine[Any, Any, None]:
        handler = self._handler
        transforms = [make(handler.request) for make in handler.application.transforms]
        return handler._execute(transforms, *self._path_args)


async def _go_on(steps: Coroutine[Any, Any, None], awaited: Any) -> None:
    """Take a coroutine on that waits for something, from within another task."""
    await _rest_of(steps, awaited)


@types.coroutine
def _rest_of(steps: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, None, None]:
    try:
        while True:
            try:
                yield awaited
            except BaseException as raised:  # noqa: BLE001 -- cancelled, for one: it is for them
                awaited = steps.throw(raised)
            else:
                awaited = steps.send(None)
    except StopIteration:
        return
