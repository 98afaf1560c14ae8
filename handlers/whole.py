"""A request that is short: its handler begins when its body is all there (ADR 0008)."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)

from handlers.base import Handler

# A body that says that it is no longer than this is collected, and its handler begins when it is
# there; a longer one is read by its handler.
WHOLE_BYTES = 1 << 16
_DIGITS = len(str(WHOLE_BYTES))


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

    :ivar handler: as Tornado's own delegates have it.
    """

    def __init__(self, handler: Handler, path_args: list[bytes]) -> None:
        self.handler = handler
        self._path_args = path_args
        # As Tornado would have it when the handler begins.
        handler.path_args = [handler.decode_argument(part) for part in path_args]
        # For Tornado, the handler streams its body, and has all of it.
        handler.request._body_future = whole = asyncio.get_running_loop().create_future()
        whole.set_result(None)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return None if self.handler.admit() else self._execute()

    def data_received(self, chunk: bytes) -> None:
        if self.handler.takes_body:
            self.handler.body += chunk

    def finish(self) -> None:
        steps = self._execute()
        if self.handler.prompt:
            try:
                awaited = steps.send(None)
            except StopIteration:
                return
            steps = _go_on(steps, awaited)
        task = asyncio.get_running_loop().create_task(steps)
        # What a handler raises it answers itself; this is for a fault of Tornado.
        task.add_done_callback(lambda task: task.cancelled() or task.result())

    def on_connection_close(self) -> None:
        self.handler.on_connection_close()

    def _execute(self) -> Coroutine[Any, Any, None]:
        handler = self.handler
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
