"""A WebSocket that listens."""

from __future__ import annotations

import base64
import os
import time
from bisect import bisect_right
from selectors import BaseSelector
from urllib.parse import quote

from notifier.cli.load.connection import Connection
from notifier.cli.load.endpoint import Endpoint
from notifier.cli.load.refused import Refused, refusal_in
from notifier.cli.load.tally import Tally

_CONTROL = 0x8


class Reader(Connection):
    """One that listens."""

    def __init__(self, endpoint: Endpoint, selector: BaseSelector, tally: Tally) -> None:
        super().__init__(endpoint, selector, tally)
        self.ready = False
        self.place = 0
        self.message = 0
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            endpoint.head(
                "GET",
                f"/ws?channel={quote(endpoint.channel, safe='')}",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {key}",
            )
        )

    def on_data(self, data: bytes) -> None:
        if not self.ready:
            data = self._subscribe(data)
        if self.ready:
            data = self._compare(data)
        self.rest = data

    def _subscribe(self, data: bytes) -> bytes:
        if data.startswith(b"HTTP"):
            head, end, data_after = data.partition(b"\r\n\r\n")
            if not end:
                return data
            if not head.startswith(b"HTTP/1.1 101"):
                line = head[9:80].splitlines()[0].decode(errors="replace")
                raise refusal_in(data_after) or Refused(f"a WebSocket was answered with {line!r}")
            data = data_after
        while (frame := frame_at(data, 0)) is not None:
            message, data = data[: frame[1]], data[frame[1] :]
            if b'"type":"subscribed"' in message:
                self.ready = True
                self.tally.waiting -= 1
                break
            if (refusal := refusal_in(message)) is not None:
                raise refusal
        return data

    def _compare(self, data: bytes) -> bytes:
        stream = self.tally.stream
        while data:
            there = stream.data[self.place : self.place + len(data)]
            if there and there == data[: len(there)]:
                self.place += len(there)
                data = data[len(there) :]
                continue
            if there:
                # It may be a ping, which each gets in its own time, before the next message.
                begun = self._begun(there, data)
                data = bytes(stream.data[begun : self.place]) + data[max(0, begun - self.place) :]
                self.place = begun
            frame = frame_at(data, 0)
            if frame is None:
                break
            if data[0] & _CONTROL:
                self._control(data[: frame[1]])
                data = data[frame[1] :]
            elif there:
                raise Refused("two sockets were not sent the same")
            else:
                data = self._bring(data)
        self._advance()
        return data

    def _begun(self, there: bytes | bytearray, data: bytes) -> int:
        """Where the message begins in which the two differ."""
        same = next(i for i, (a, b) in enumerate(zip(there, data, strict=False)) if a != b)
        ends = self.tally.stream.ends
        index = bisect_right(ends, self.place + same)
        return ends[index - 1] if index else 0

    def _bring(self, data: bytes) -> bytes:
        """Give the stream what it has not yet: the whole messages up to a ping."""
        end = 0
        while (frame := frame_at(data, end)) is not None and not data[end] & _CONTROL:
            self.tally.stream.append(data[end : frame[1]])
            end = frame[1]
        self.place += end
        return data[end:]

    def _control(self, frame: bytes) -> None:
        if frame[0] & 0xF == 0x9:
            self.socket.send(bytes((0x8A, 0x80 | frame[1])) + b"\0\0\0\0" + frame[2:])
        elif frame[0] & 0xF == 0x8:
            raise Refused("the server closed a WebSocket")

    def _advance(self) -> None:
        stream = self.tally.stream
        upto = bisect_right(stream.ends, self.place, lo=self.message)
        if upto > self.message:
            now = time.monotonic()
            self.tally.delivered += upto - self.message
            self.tally.last = now
            self.tally.latencies += [now - sent for sent in stream.times[self.message : upto]]
            self.message = upto


def frame_at(data: bytes | bytearray, begin: int) -> tuple[int, int] | None:
    """Opcode and end of the frame that begins there, if all of it is there (RFC 6455 §5.2)."""
    if len(data) < begin + 2:
        return None
    size, head = data[begin + 1], 2
    if size >= 126:
        head = 4 if size == 126 else 10
        if len(data) < begin + head:
            return None
        size = int.from_bytes(data[begin + 2 : begin + head])
    end = begin + head + size
    return None if end > len(data) else (data[begin] & 0xF, end)
