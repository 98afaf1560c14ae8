"""Reading what a server streams over HTTP, and distrusting it: chunks, server-sent events, lines.

Each parser is fed bytes as they come, in pieces of any size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class Chunks:
    """HTTP/1.1's chunked coding (RFC 9112 §7.1). What there is of a chunk is given at once."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # of the chunk's data
        self._owed = b""  # what must come before the next chunk's size
        self._last = False
        self.done = False

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        body = b""
        while self._buffer and not self.done:
            if self._left:
                piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                body += piece
                self._left -= len(piece)
            elif self._owed:
                assert self._owed[:1] == self._buffer[:1], f"no line end: {self._buffer[:60]!r}"
                self._owed, self._buffer = self._owed[1:], self._buffer[1:]
                self.done = self._last and not self._owed
            else:
                line, end, rest = self._buffer.partition(b"\r\n")
                assert len(line) < 20, f"no size of a chunk: {line[:60]!r}"
                if not end:
                    break
                self._left = int(line.decode("ascii"), 16)
                self._owed, self._buffer, self._last = end, rest, not self._left
        assert not (self.done and self._buffer), f"after the last chunk: {self._buffer[:60]!r}"
        return body


class Bare:
    """A body that ends with the connection."""

    done = False

    def feed(self, data: bytes) -> bytes:
        return data


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event, as EventSource would fire it."""

    name: str
    data: str
    id: str


class EventParser:
    """WHATWG HTML §9.2.6, step by step.

    :ivar last_id: what EventSource comes back with.
    :ivar retry: milliseconds until then.
    :ivar comments: how many there were.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = False
        self._data: list[str] = []
        self._name = ""
        self._id: str | None = None
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0

    def feed(self, data: bytes) -> list[Event]:
        self._buffer += data
        events = []
        while (line := self._line()) is not None:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _line(self) -> str | None:
        if not self._begun and len(self._buffer) >= 3:
            self._begun = True
            self._buffer = self._buffer.removeprefix(b"\xef\xbb\xbf")
        ends = [at for at in (self._buffer.find(b"\n"), self._buffer.find(b"\r")) if at >= 0]
        if not ends:
            return None
        end = min(ends)
        # Whether a CR has its LF is not known before the next byte.
        if self._buffer[end : end + 1] == b"\r" and len(self._buffer) == end + 1:
            return None
        length = 2 if self._buffer[end : end + 2] == b"\r\n" else 1
        line, self._buffer = self._buffer[:end], self._buffer[end + length :]
        return line.decode()

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id":
                assert "\0" not in value
                self._id = value
            case "retry":
                assert value.isascii() and value.isdigit(), line
                self.retry = int(value)
            case _:
                raise AssertionError(f"a field that EventSource does not know: {line!r}")
        return None

    def _dispatch(self) -> Event | None:
        if self._id is not None:
            self.last_id, self._id = self._id, None
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if not data:
            assert not name, f"an event {name!r} without data is never fired"
            return None
        return Event(name or "message", "\n".join(data), self.last_id)


class LineParser:
    """One JSON object a line."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        assert all(isinstance(message, dict) for message in messages)
        return messages
