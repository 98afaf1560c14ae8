"""A request as it comes in: its head finds its handler, then its body comes, each in its time."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from traceback import clear_frames
from typing import cast

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

from handlers.base import Handler
from handlers.malformed import Malformed, StreamOfHead, check_framing
from handlers.patience import Patience
from handlers.target import read_target


class Arrival(HTTPMessageDelegate):
    """What Tornado tells of one request.

    :param malformed: answers a head that can't be understood.
    :param find: the delegate of what serves it.
    """

    def __init__(
        self,
        server_connection: HTTP1ServerConnection,
        connection: HTTP1Connection,
        patience: Patience,
        malformed: Malformed,
        find: Callable[[HTTPServerRequest], HTTPMessageDelegate],
    ) -> None:
        self._server_connection = server_connection
        self._connection = connection
        self._patience = patience
        self._find = find
        self._delegate: HTTPMessageDelegate | None = None
        self._stream = connection.stream
        connection.stream = cast(IOStream, StreamOfHead(self._stream, server_connection, malformed))
        patience.heads.begin(server_connection)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._patience.heads.end(self._server_connection)
        check_framing(headers, start_line.version)
        start_line, host = read_target(cast(RequestStartLine, start_line))
        request = self._request(start_line, headers)
        if host is not None:
            # The header had to be good; from here on it is what the target says.
            headers["Host"] = host
            request = self._request(start_line, headers)
        # It is good: what is written from here on is for the client.
        self._connection.stream = self._stream
        self._delegate = self._find(request)
        admitting = self._delegate.headers_received(start_line, headers)
        if admitting is not None:
            return self._admit(admitting)
        self._patience.bodies.begin(self._server_connection)
        return None

    def _request(self, start_line: RequestStartLine, headers: HTTPHeaders) -> HTTPServerRequest:
        return HTTPServerRequest(
            connection=self._connection,
            server_connection=self._server_connection,
            start_line=start_line,
            headers=headers,
        )

    async def _admit(self, admitting: Awaitable[None]) -> None:
        await admitting
        handler = getattr(self._delegate, "handler", None)
        if isinstance(handler, Handler) and handler._finished:
            return  # it was refused: its body is waited for no more
        if not isinstance(handler, Handler) or handler.timed_body:
            self._patience.bodies.begin(self._server_connection)
        else:
            self._patience.unending.add(self._server_connection)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._delegate is not None
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        assert self._delegate is not None
        self._patience.ended(self._server_connection)
        self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate is not None:
            self._delegate.on_connection_close()
        # Tornado's frame that waited for more of the body holds what it waited for, that what it
        # failed with, and that the frame: so all of us would wait for the cyclic collector.
        if (lost := sys.exception()) is not None:
            clear_frames(lost.__traceback__)
