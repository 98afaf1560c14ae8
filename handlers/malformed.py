"""A request whose head is no HTTP: it is told so as any other refusal is, and its connection ends.

Tornado refuses such a head itself, with a status line and nothing more, and has no hook for it. But
while a head is being read, that refusal is all that is ever written to the connection. So until the
head is known to be good, the connection has, in the place of its stream, one that writes our
answer for Tornado's.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus

from pydantic_core import to_json
from tornado.http1connection import HTTP1ServerConnection, is_transfer_encoding_chunked
from tornado.httputil import HTTPHeaders, HTTPInputError
from tornado.iostream import IOStream, SSLIOStream

from handlers import door
from handlers.linger import linger
from notifier import logs
from notifier.counts import Counts
from notifier.errors import BadRequest

log = logging.getLogger("notifier.http")


class Malformed:
    """Answers heads that can't be understood.

    :param hsts_seconds: what browsers are told over HTTPS; 0: nothing.
    """

    def __init__(self, counts: Counts, *, hsts_seconds: int = 0) -> None:
        self._counts = counts
        self._hsts_seconds = hsts_seconds

    async def refuse(self, stream: IOStream, connection: HTTP1ServerConnection) -> None:
        """Answer, and close when the client has had its time to read it."""
        refusal = BadRequest("The head of this request is not HTTP/1.1 (RFC 9112).")
        self._counts.errors[refusal.code] += 1
        logs.event(log, logging.INFO, "request.malformed", remote=str(connection.context))
        body = to_json({"error": refusal.describe()}) + b"\n"
        headers = door.default_headers()
        headers["Content-Type"] = "application/json; charset=utf-8"
        headers["Cache-Control"] = "no-store"
        headers["Connection"] = "close"
        headers["Content-Length"] = str(len(body))
        if self._hsts_seconds and isinstance(stream, SSLIOStream):
            headers["Strict-Transport-Security"] = f"max-age={self._hsts_seconds}"
        lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        # Tornado knows what to do where the client has left.
        stream.write("\r\n".join([*lines, "", ""]).encode() + body)
        await linger(stream)


class StreamOfHead:
    """A connection's stream while the head of a request is read from it.

    Has all of the real one but what Tornado does with a head that it can't read.
    """

    __slots__ = ("_connection", "_malformed", "real")

    def __init__(
        self, real: IOStream, connection: HTTP1ServerConnection, malformed: Malformed
    ) -> None:
        self.real = real
        self._connection = connection
        self._malformed = malformed

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    async def write(self, data: bytes) -> None:
        """Whatever Tornado has to say of the head, we say it."""
        await self._malformed.refuse(self.real, self._connection)


def check_framing(headers: HTTPHeaders, version: str) -> None:
    """See that there is no doubt about where the body ends (RFC 9112 §6.3).

    Tornado sees to it as well, but when the handler has begun.

    :raises HTTPInputError:
    """
    if is_transfer_encoding_chunked(headers) and version == "HTTP/1.0":
        # §6.1: HTTP/1.0 has no chunks. Who stands between may have read it otherwise.
        raise HTTPInputError("a transfer coding in HTTP/1.0")
    declared = headers.get("Content-Length", "0")
    if declared.isascii() and declared.isdigit():
        return
    # The same several times is one (§6.3).
    lengths = {length.strip(" \t") for length in declared.split(",")}
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]+", length) for length in lengths):
        raise HTTPInputError("no length, or several")
