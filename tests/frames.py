"""WebSocket frames by hand (RFC 6455 §5): a client's as it likes, a server's distrusted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple, cast

from notifier.notification import Publication
from notifier.wire.prepared import Format, Prepared

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
# The bit of a compressed message among the reserved ones.
RSV1 = 4


class Frame(NamedTuple):
    opcode: int
    payload: bytes


class FrameParser:
    """Cuts bytes into frames; anything a server must not send fails the test.

    :ivar inflates: permessage-deflate was negotiated.
    :ivar compressed: how many messages were.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.closed = False
        self.inflates = False
        self.compressed = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now."""
        assert not (self.closed and data), f"{len(data)} bytes after Close: {data[:60]!r}"
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            assert not self.closed, f"a frame after Close: {frame}"
            self.closed = frame.opcode == CLOSE
            frames.append(frame)
        assert not (self.closed and self._buffer), "bytes after Close"
        return frames

    @property
    def inside(self) -> bool:
        """Whether a frame has begun that is not complete."""
        return bool(self._buffer)

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode = buffer[0] & 0x0F
        compressed = buffer[0] & 0xF0 == 0xC0 and self.inflates and opcode in (TEXT, BINARY)
        assert buffer[0] & 0xF0 == 0x80 or compressed, f"no whole frame: {bytes(buffer[:20])!r}"
        assert opcode in (TEXT, BINARY, CLOSE, PING, PONG), f"opcode {opcode}"
        assert not buffer[1] & 0x80, "a masked frame from a server"
        size, head = buffer[1], 2
        if size >= 126:
            assert opcode < 0x8, "a control frame over 125 bytes"
            head = 4 if size == 126 else 10
            if len(buffer) < head:
                return None
            size = int.from_bytes(buffer[2:head])
            assert size < 1 << 32, "not a length"
        if len(buffer) < head + size:
            return None
        payload = bytes(buffer[head : head + size])
        del buffer[: head + size]
        if compressed:
            # Nobody has to remember what came before: each is inflated from nothing.
            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
            assert len(payload) > size, "deflating has made it no smaller"
            self.compressed += 1
        return Frame(opcode, payload)


def client_frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    size: int | None = None,
) -> bytes:
    """A frame as a client sends it (RFC 6455 §5.2); ``size`` claims another length."""
    length = len(payload) if size is None else size
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    bit = 0x80 if masked else 0
    if length < 126:
        start = bytes((first, bit | length))
    elif length < 65536:
        start = bytes((first, bit | 126)) + length.to_bytes(2)
    else:
        start = bytes((first, bit | 127)) + length.to_bytes(8)
    if not masked:
        return start + payload
    mask = b"\x01\x02\x03\x04"
    repeated = mask * (len(payload) // 4 + 1)
    scrambled = int.from_bytes(payload) ^ int.from_bytes(repeated[: len(payload)])
    return start + mask + scrambled.to_bytes(len(payload))


def deflated_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A compressed message as a client sends it (RFC 7692 §7.2.1)."""
    return client_frame(deflated(payload), opcode, reserved=RSV1)


def deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


# A format for tests of what does not look into frames: an item is its own encoding.
AS_IS = Format("as it is", lambda item: cast(bytes, item), lambda kind, message: message)


def items(frames: Iterable[bytes]) -> list[Prepared]:
    """The frames as items that are encoded ``AS_IS``."""
    return [Prepared(cast(Publication, frame)) for frame in frames]
