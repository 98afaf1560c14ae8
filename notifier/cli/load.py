"""Many WebSockets and a few that publish, in one loop over raw sockets: what ``bench`` is made of.

The first socket that gets a byte of the channel's stream keeps it, and it is read; what the others
get is compared with it, byte for byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import selectors
import socket
import ssl
import time
from bisect import bisect_right
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from notifier.client.address import Address

_CONNECTING_SECONDS = 20.0
_PATIENCE_SECONDS = 3.0
_CHUNK = 1 << 18
_MARK = re.compile(rb"@(\d+)\.(\d{8})\.(\d{16})\.(x*)\.")
_CONTROL = 0x8
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
_AT_ONCE = 100  # handshakes under way

Advance = Callable[[float], None]


class Refused(Exception):
    """The server answered, but not as it should.

    :ivar code: the number of its refusal, if it told one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class _Stream:
    """What every socket gets, in whole messages. ``ends`` are where they end in it, ``times`` when
    they were published."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends: list[int] = []
        self.times: list[float] = []
        self.wrong = 0
        self._next: dict[int, int] = {}

    def append(self, frame: bytes) -> None:
        self.data += frame
        self.ends.append(len(self.data))
        found = _MARK.search(frame)
        if found is None:
            self.wrong += 1
            self.times.append(time.monotonic())
            return
        source, number = int(found[1]), int(found[2])
        self.wrong += number != self._next.get(source, 0)
        self._next[source] = number + 1
        self.times.append(int(found[3]) / 1e9)


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


class _Connection:
    """A socket, and the bytes that wait for others."""

    def __init__(self, load: Load, events: int) -> None:
        self.load = load
        self.socket = load.open_socket()
        self.rest = b""
        load.selector.register(self.socket, events, self)

    def on_event(self) -> None:
        data = self.receive()
        if data:
            self.on_data(data)

    def receive(self) -> bytes:
        data = self.rest
        while True:
            try:
                got = self.socket.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return data
            if not got:
                raise Refused("the server hung up on one of our connections")
            data += got
            if not isinstance(self.socket, ssl.SSLSocket):
                return data

    def on_data(self, data: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.load.selector.unregister(self.socket)
        self.socket.close()


class _Reader(_Connection):
    """One that listens."""

    def __init__(self, load: Load) -> None:
        super().__init__(load, selectors.EVENT_READ)
        self.ready = False
        self.place = 0
        self.message = 0
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"{load.path}/ws?channel={quote(load.channel, safe='')}"
        upgrade = f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        request = f"GET {path} HTTP/1.1\r\nHost: {load.host}\r\nConnection: Upgrade\r\n{upgrade}"
        self.socket.sendall(f"{request}\r\n{load.authorization}\r\n".encode())

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
                raise _refusal(data_after) or Refused(f"a WebSocket was answered with {line!r}")
            data = data_after
        while (frame := frame_at(data, 0)) is not None:
            message, data = data[: frame[1]], data[frame[1] :]
            if b'"type":"subscribed"' in message:
                self.ready = True
                self.load.waiting -= 1
                break
            if (refusal := _refusal(message)) is not None:
                raise refusal
        return data

    def _compare(self, data: bytes) -> bytes:
        stream = self.load.stream
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
        ends = self.load.stream.ends
        index = bisect_right(ends, self.place + same)
        return ends[index - 1] if index else 0

    def _bring(self, data: bytes) -> bytes:
        """Give the stream what it has not yet: the whole messages up to a ping."""
        end = 0
        while (frame := frame_at(data, end)) is not None and not data[end] & _CONTROL:
            self.load.stream.append(data[end : frame[1]])
            end = frame[1]
        self.place += end
        return data[end:]

    def _control(self, frame: bytes) -> None:
        if frame[0] & 0xF == 0x9:
            self.socket.send(bytes((0x8A, 0x80 | frame[1])) + b"\0\0\0\0" + frame[2:])
        elif frame[0] & 0xF == 0x8:
            raise Refused("the server closed a WebSocket")

    def _advance(self) -> None:
        stream = self.load.stream
        upto = bisect_right(stream.ends, self.place, lo=self.message)
        if upto > self.message:
            now = time.monotonic()
            self.load.delivered += upto - self.message
            self.load.last = now
            self.load.latencies += [now - sent for sent in stream.times[self.message : upto]]
            self.message = upto


class _Publisher(_Connection):
    """One that publishes: each request when the one before it is answered."""

    def __init__(self, load: Load, source: int, batch: int) -> None:
        super().__init__(load, selectors.EVENT_READ)
        self.source = source
        self.batch = batch
        self.number = 0
        self.busy = False

    def send(self) -> None:
        load = self.load
        if self.batch:
            texts = [self._text() for _ in range(self.batch)]
            lines = [json.dumps({"channel": load.channel, "message": text}) for text in texts]
            kind, body = "application/x-ndjson", "\n".join(lines).encode()
            path = "/notify"
        else:
            kind, body = "text/plain", self._text().encode()
            path = f"/notify/{quote(load.channel, safe='')}"
        request = (
            f"POST {load.path}{path} HTTP/1.1\r\nHost: {load.host}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n{load.authorization}\r\n"
        )
        self.busy = True
        self.socket.settimeout(_CONNECTING_SECONDS)
        self.socket.sendall(request.encode() + body)
        self.socket.setblocking(False)

    def _text(self) -> str:
        head = f"@{self.source}.{self.number:08}.{time.monotonic_ns():016}."
        self.number += 1
        self.load.published += 1
        return head + "x" * (self.load.size - len(head) - 1) + "."

    def on_data(self, data: bytes) -> None:
        head, end, body = data.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if not end or (size is not None and len(body) < int(size[1])):
            self.rest = data
            return
        if not head.startswith(b"HTTP/1.1 2"):
            line = head[9:80].splitlines()[0].decode(errors="replace")
            raise _refusal(body) or Refused(f"a notification was answered with {line}")
        self.rest = b""
        self.busy = False
        self.load.on_answer(self)


class Load:
    """The connections to one server, and what went over them.

    Use as a context manager; what it published is deleted at its end.
    """

    def __init__(
        self,
        address: Address,
        channel: str,
        *,
        size: int,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(address.page())
        self.authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
        self.channel = channel
        self.size = size
        self.host = parts.netloc.rpartition("@")[2]
        self.path = parts.path
        self.selector = selectors.DefaultSelector()
        self.stream = _Stream()
        self.waiting = 0
        self.published = 0
        self.delivered = 0
        self.last = 0.0
        self.latencies: list[float] = []
        self._tls = None
        if parts.scheme == "https":
            self._tls = tls or ssl.create_default_context()
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._readers: list[_Reader] = []
        self._until = 0.0
        self._flat_out = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for key in list(self.selector.get_map().values()):
            key.data.close()
        if error is None:
            self._delete()
        elif isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                self._delete()
        self.selector.close()

    def open_socket(self) -> socket.socket:
        """A new connection, which does not block.

        :raises OSError: there is none to be had.
        """
        plain = socket.create_connection((self._name, self._port), timeout=_CONNECTING_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._tls.wrap_socket(plain, server_hostname=self._name) if self._tls else plain
        made.setblocking(False)
        return made

    def connect(self, count: int, advance: Advance) -> dict[str, float]:
        """Open so many sockets and subscribe with each."""
        begin = time.monotonic()
        while len(self._readers) < count or self.waiting:
            if len(self._readers) < count and self.waiting < _AT_ONCE:
                self.waiting += 1
                self._readers.append(_Reader(self))
                self._turn(0)
            else:
                self._turn(0.1)
            if time.monotonic() > begin + _CONNECTING_SECONDS + count / 100:
                raise Refused(f"{self.waiting} sockets were told of no subscription")
            advance(len(self._readers) - self.waiting)
        seconds = time.monotonic() - begin
        return {"seconds": seconds, "per_second": count / seconds}

    def publish(
        self,
        seconds: float,
        *,
        advance: Advance,
        connections: int = 1,
        batch: int = 0,
        rate: float = 0.0,
    ) -> dict[str, float]:
        """Publish for so long, ``rate`` times a second or as soon as it is answered; then let
        everything arrive."""
        self.stream = _Stream()
        self.published = self.delivered = 0
        self.latencies = []
        for reader in self._readers:
            reader.place = reader.message = 0
        publishers = [_Publisher(self, source, batch) for source in range(connections)]
        cpu, begin = time.process_time(), time.monotonic()
        self._until, self._flat_out, self.last = begin + seconds, not rate, begin
        due = begin
        for publisher in publishers if self._flat_out else ():
            publisher.send()
        while (now := time.monotonic()) < self._until:
            if rate and now >= due and not publishers[0].busy:
                publishers[0].send()
                due += 1 / rate
            self._turn(max(0.0, min(due, self._until) - now) if rate else 0.05)
            advance(min(seconds, now - begin))
        self._drain(publishers)
        spent, took = time.process_time() - cpu, max(self.last - begin, 1e-9)
        expected = self.published * len(self._readers)
        for publisher in publishers:
            publisher.close()
        return {
            "published": self.published,
            "delivered": self.delivered,
            "wrong": self.stream.wrong + abs(expected - self.delivered),
            "seconds": took,
            "published_per_second": self.published / took,
            "delivered_per_second": self.delivered / took,
            "busy": spent / max(time.monotonic() - begin, 1e-9),
            **_quantiles(self.latencies),
        }

    def on_answer(self, publisher: _Publisher) -> None:
        self.last = time.monotonic()
        if self._flat_out and self.last < self._until:
            publisher.send()

    def hang_up(self) -> None:
        """Close the sockets that listen."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    def _drain(self, publishers: list[_Publisher]) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(publisher.busy for publisher in publishers) or (
            self.delivered < self.published * len(self._readers)
        ):
            before = self.delivered
            self._turn(0.1)
            if self.delivered > before:
                end = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > end:
                return

    def _turn(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            key.data.on_event()

    def _delete(self) -> None:
        path = f"{self.path}/channels/{quote(self.channel, safe='')}/history"
        made = self.open_socket()
        with made:
            made.settimeout(_CONNECTING_SECONDS)
            request = f"DELETE {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n"
            request += f"{self.authorization}\r\n"
            made.sendall(request.encode())
            made.recv(_CHUNK)


def _refusal(text: bytes) -> Refused | None:
    """The server's own, in a body or in a message on a WebSocket."""
    try:
        told = json.loads(text[text.index(b'{"') :])  # a frame's length may look like a brace
        error = told.get("error", told)
        return Refused(str(error["message"]), int(error["code"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _quantiles(values: list[float]) -> dict[str, Any]:
    if not values:
        return {}
    values = sorted(values)
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    last = len(values) - 1
    return {name: values[min(last, int(share * len(values)))] for name, share in shares}
