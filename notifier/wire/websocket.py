"""WebSocket frames as a server sends them: whole and unmasked (RFC 6455 §5.2).

Frames to clients are unmasked, so one frame serves every socket.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from notifier.notification import Gap, Publication
from notifier.wire import messages
from notifier.wire.prepared import Format

_FIN = 0x80


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def frame(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """One whole frame.

    :raises ValueError: for a control frame over 125 bytes.
    """
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if opcode & 0x8:
        raise ValueError("control frames hold at most 125 bytes (RFC 6455 §5.5)")
    if size < 65536:
        return struct.pack("!BBH", _FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", _FIN | opcode, 127, size) + payload


def may_be_sent(close_code: int) -> bool:
    """Whether a peer may put this code into a Close frame (RFC 6455 §7.4)."""
    return 1000 <= close_code <= 1003 or 1007 <= close_code <= 1014 or 3000 <= close_code <= 4999


# One frame for everybody: an empty payload needs no bookkeeping of who was asked what.
PING = frame(b"", Opcode.PING)


def _encode(item: Publication | Gap) -> bytes:
    return frame(messages.item(item))


def _say(kind: str, message: bytes) -> bytes:
    return frame(message)


NATIVE = Format("native", _encode, _say)
