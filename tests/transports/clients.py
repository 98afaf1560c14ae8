"""A small client for each transport, by hand, all with one face.

Every message comes as the native protocol's JSON object, whatever it was wrapped in. What only
says that the server is there (a comment, a line, a ping) comes as ``{"type": "alive"}``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlencode

from tests.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameParser,
    client_frame,
    deflated_frame,
)
from tests.handlers.serving import CERTIFICATE, HANDSHAKE, PATIENCE, Answer, Wire, head, open_stream
from tests.transports.bodies import Bare, Chunks, EventParser, LineParser

Message = dict[str, Any]
ALIVE: Message = {"type": "alive"}


class Ended(Exception):
    """The connection is over.

    :ivar code: of the Close frame that came.
    :ivar orderly: the server ended it as the protocol has it, and did not just hang up.
    """

    def __init__(self, *, code: int | None = None, orderly: bool = False) -> None:
        super().__init__(f"code {code}, {'in good order' if orderly else 'cut'}")
        self.code = code
        self.orderly = orderly


class Refused(Exception):
    """The server does not want it.

    :ivar error: its error object.
    :ivar answer: where it came as HTTP.
    """

    def __init__(self, error: Message, answer: Answer | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.answer = answer
        self.code = int(error["code"])


@dataclass
class Asked:
    """What a client asks for.

    :param since: where to begin; ``None`` says nothing about it.
    :param places: where to begin in each channel, where that can be said.
    :param query: parameters besides these.
    """

    names: Sequence[str]
    since: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    query: Sequence[tuple[str, str]] = ()
    headers: dict[str, str] = field(default_factory=dict)


class Client(ABC):
    """One connection.

    :cvar trust: whose certificates, where it speaks TLS.
    :ivar server_time: seconds since 1970 that the server last told.
    """

    method = "GET"
    trust: ClassVar[ssl.SSLContext | None] = None

    def __init__(self, wire: Wire, asked: Asked) -> None:
        self._wire = wire
        self._asked = asked
        self._messages: deque[Message] = deque()
        self._ended: Ended | None = None
        self._allowed: int | None = None
        self._half_closed = False

    @classmethod
    async def connect(cls, port: int, asked: Asked, *, receive_buffer: int | None = None) -> Self:
        """:raises Refused:
        :raises Ended: before the server has answered.
        """
        streams = await open_stream(port, receive_buffer=receive_buffer, tls=cls.trust)
        client = cls(Wire(*streams), asked)
        try:
            async with asyncio.timeout(PATIENCE):
                await client._open()
        except (EOFError, ConnectionError):
            client.close()
            raise Ended from None
        except BaseException:
            client.close()
            raise
        return client

    async def message(self) -> Message:
        """The next one.

        :raises Ended:
        """
        async with asyncio.timeout(PATIENCE):
            while not self._messages:
                if self._ended is not None:
                    raise self._ended
                await self.read()
        return self._messages.popleft()

    async def real_message(self) -> Message:
        """The next one that says more than that the server is there."""
        while (message := await self.message())["type"] == "alive":
            pass
        return message

    def allow(self, size: int) -> None:
        """Be cut off after so many bytes more, or when nothing more comes for now."""
        self._allowed = size

    async def read(self, size: int = 1 << 16) -> int:
        """Take at most so many bytes; how many there were."""
        if self._allowed is not None:
            return await self._read_allowed()
        try:
            data = await self._wire.reader.read(size)
        except ConnectionError:
            data = b""
        if data:
            self._messages.extend(self._take(data))
        elif self._ended is None:
            self._ended = self._end()
        return len(data)

    async def _read_allowed(self) -> int:
        assert self._allowed is not None
        data = b""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.01 if self._allowed else 0):
                data = await self._wire.reader.read(self._allowed)
        self._allowed -= len(data)
        self._messages.extend(self._take(data))
        if not data or not self._allowed:
            self._ended = Ended()
        return len(data)

    async def send(self, data: bytes) -> None:
        await self._wire.send(data)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._half_closed = True
        self._wire.half_close()

    def close(self) -> None:
        """Hang up."""
        self._wire.reset()

    @property
    def socket(self) -> socket.socket:
        return self._wire.socket

    async def _open(self) -> None:
        request = head(self.method, self._path(), {**self._headers(), **self._asked.headers})
        await self._wire.send(self._line(request))
        await self._begin()

    def _line(self, request: bytes) -> bytes:
        return request

    def _headers(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def _path(self) -> str:
        """Of the URL, with its query."""

    @abstractmethod
    async def _begin(self) -> None:
        """Read the head of the answer."""

    @abstractmethod
    def _take(self, data: bytes) -> Iterable[Message]:
        """The messages that are whole with these bytes."""

    @abstractmethod
    def _end(self) -> Ended:
        """No more bytes come."""

    def _query(self, since: str | None) -> str:
        pairs = [("channel", name) for name in self._asked.names]
        if since is not None:
            pairs.append(("since", since))
        pairs += self._asked.query
        return "?" + urlencode(pairs) if pairs else ""


# --- HTTP ---


class Stream(Client):
    """A response without an end."""

    path: ClassVar[str]
    content_type: ClassVar[str]
    accept: ClassVar[str] = "*/*"

    def __init__(self, wire: Wire, asked: Asked) -> None:
        super().__init__(wire, asked)
        self._coding: Chunks | Bare = Chunks()
        self.server_time = 0.0

    def _headers(self) -> dict[str, str]:
        return {"Accept": self.accept}

    def _path(self) -> str:
        return self.path + self._query(self._asked.since)

    async def _begin(self) -> None:
        answer = await self._wire.answer_head()
        if not answer.headers["content-type"].startswith(self.content_type):
            answer = await self._wire.answer_body(answer)
            raise Refused(answer.json["error"], answer)
        assert answer.status == 200
        assert answer.headers.keys().isdisjoint({"content-length", "etag"})
        assert "no-store" in answer.headers["cache-control"]
        self._check_coding(answer)
        date = parsedate_to_datetime(answer.headers["date"])
        self.server_time = date.timestamp()

    def _check_coding(self, answer: Answer) -> None:
        # What has no body has no coding.
        coding = None if self.method == "HEAD" else "chunked"
        assert answer.headers.get("transfer-encoding") == coding

    def _end(self) -> Ended:
        return Ended(orderly=self._coding.done)

    def _take(self, data: bytes) -> Iterable[Message]:
        messages = list(self._parse(self._coding.feed(data)))
        if self._coding.done:
            self._ended = self._end()
        return messages

    @abstractmethod
    def _parse(self, body: bytes) -> Iterable[Message]: ...


class OverHTTP10(Stream):
    """The same, asked for as HTTP/1.0 has it: no chunks, and the end is the connection's."""

    def __init__(self, wire: Wire, asked: Asked) -> None:
        super().__init__(wire, asked)
        self._coding = Bare()

    def _line(self, request: bytes) -> bytes:
        return request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)

    def _check_coding(self, answer: Answer) -> None:
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"

    def _end(self) -> Ended:
        # Whether it was in good order, HTTP/1.0 can't tell.
        return Ended(orderly=True)


class Events(Stream):
    """``/events``, as EventSource has it."""

    path = "/events"
    content_type = "text/event-stream"
    accept = "text/event-stream"

    def __init__(self, wire: Wire, asked: Asked) -> None:
        super().__init__(wire, asked)
        self.parser = EventParser()

    def _headers(self) -> dict[str, str]:
        # EventSource comes back with what it has in a header.
        since = {} if self._asked.since is None else {"Last-Event-ID": self._asked.since}
        encoded = {name: value.encode().decode("latin-1") for name, value in since.items()}
        return {**super()._headers(), **encoded}

    def _path(self) -> str:
        return self.path + self._query(None)

    def _parse(self, body: bytes) -> Iterable[Message]:
        for event in self.parser.feed(body):
            if event.name == "keepalive":
                yield ALIVE
                continue
            message = json.loads(event.data)
            kind = {"message": "notification", "refused": "error"}.get(event.name, event.name)
            assert message["type"] == kind, event
            yield {**message, "event_id": event.id}


class EventsOverHTTP10(OverHTTP10, Events):
    pass


class Lines(Stream):
    """``/stream``."""

    path = "/stream"
    content_type = "application/x-ndjson"

    def __init__(self, wire: Wire, asked: Asked) -> None:
        super().__init__(wire, asked)
        self._parser = LineParser()

    def _parse(self, body: bytes) -> Iterable[Message]:
        for message in self._parser.feed(body):
            yield message | ALIVE if message["type"] == "keepalive" else message


class LinesOverHTTP10(OverHTTP10, Lines):
    pass


class Poll(Lines):
    """``/stream?poll=1``."""

    def _query(self, since: str | None) -> str:
        query = super()._query(since)
        return f"{query}&poll=1" if query else "?poll=1"


class PollOverHTTP10(OverHTTP10, Poll):
    """Whether a connection is to be kept, a client of HTTP/1.0 has to ask for."""

    def _headers(self) -> dict[str, str]:
        return {**super()._headers(), "Connection": "keep-alive"}


# --- WebSocket ---


class WebSocket(Client):
    def __init__(self, wire: Wire, asked: Asked) -> None:
        super().__init__(wire, asked)
        self._frames = FrameParser()
        self._code: int | None = None

    def _headers(self) -> dict[str, str]:
        return HANDSHAKE

    async def _begin(self) -> None:
        answer = await self._wire.answer_head()
        if answer.status != 101:
            answer = await self._wire.answer_body(answer)
            raise Refused(answer.json["error"], answer)
        self._negotiated(answer.headers.get("sec-websocket-extensions"))

    def _negotiated(self, extensions: str | None) -> None:
        assert extensions is None

    def _take(self, data: bytes) -> Iterable[Message]:
        for frame in self._frames.feed(data):
            if frame.opcode == PING:
                self._answer(client_frame(frame.payload, PONG))
                yield ALIVE
            elif frame.opcode == CLOSE:
                self._code = int.from_bytes(frame.payload[:2])
                self._answer(client_frame(frame.payload[:2], CLOSE))
            elif frame.opcode != PONG:
                yield self._message(frame)

    def _answer(self, frame: bytes) -> None:
        if not self._half_closed:
            self._wire.give(frame)

    def _end(self) -> Ended:
        return Ended(code=self._code, orderly=self._code is not None)

    @abstractmethod
    def _message(self, frame: Frame) -> Message: ...


class Native(WebSocket):
    """``/ws``, by its URL alone."""

    def _path(self) -> str:
        return "/ws" + self._query(self._asked.since)

    def _message(self, frame: Frame) -> Message:
        assert frame.opcode == TEXT
        message: Message = json.loads(frame.payload)
        return message


class Commands(Native):
    """``/ws``, by ``subscribe``."""

    def _path(self) -> str:
        return "/ws" + self._query(None)

    def _query(self, since: str | None) -> str:
        return "?" + urlencode(self._asked.query) if self._asked.query else ""

    async def _begin(self) -> None:
        await super()._begin()
        # All at once, as a program does that is in a hurry.
        for number, name in enumerate(self._asked.names):
            command = {"type": "subscribe", "channel": name, "ref": number}
            since = self._asked.places.get(name, self._asked.since)
            await self.command(command if since is None else {**command, "since": since})

    def _message(self, frame: Frame) -> Message:
        message = super()._message(frame)
        if message["type"] == "error":
            raise Refused(message)
        return message

    async def command(self, command: Message) -> None:
        await self.send(self._text(json.dumps(command).encode()))

    def _text(self, payload: bytes) -> bytes:
        return client_frame(payload)


class Raw(WebSocket):
    """``/raw/<channel>``."""

    def _path(self) -> str:
        (name,) = self._asked.names
        pairs = [] if self._asked.since is None else [("since", self._asked.since)]
        pairs += self._asked.query
        return f"/raw/{quote(name, safe='')}" + ("?" + urlencode(pairs) if pairs else "")

    def _message(self, frame: Frame) -> Message:
        if frame.opcode == BINARY:
            return {"type": "notification", "bytes": frame.payload}
        return {"type": "notification", "message": frame.payload.decode()}


class RawWithoutEcho(Raw):
    def _path(self) -> str:
        path = super()._path()
        return path + ("&" if "?" in path else "?") + "echo=0"


class Deflated(WebSocket):
    """The same with permessage-deflate."""

    def _headers(self) -> dict[str, str]:
        offer = "permessage-deflate; client_max_window_bits"
        return {**super()._headers(), "Sec-WebSocket-Extensions": offer}

    def _negotiated(self, extensions: str | None) -> None:
        assert extensions is not None and extensions.startswith("permessage-deflate; ")
        self._frames.inflates = True

    def _text(self, payload: bytes) -> bytes:
        return deflated_frame(payload)


class DeflatedNative(Deflated, Native):
    pass


class DeflatedCommands(Deflated, Commands):
    pass


class DeflatedRaw(Deflated, Raw):
    pass


class DeflatedRawWithoutEcho(Deflated, RawWithoutEcho):
    pass


class OverTLS(Client):
    trust = ssl.create_default_context(cafile=CERTIFICATE)


class NativeOverTLS(OverTLS, Native):
    pass


class EventsOverTLS(OverTLS, Events):
    pass


class RawOverTLS(OverTLS, Raw):
    pass
