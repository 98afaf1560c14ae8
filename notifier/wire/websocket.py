"""WebSocket frames as a server sends them: whole and unmasked (RFC 6455 §5.2).

Frames to clients are unmasked, so one frame serves every socket.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

from notifier.notification import Gap, Publication
from notifier.wire import messages
from notifier.wire.prepared import Format

_FIN = 0x80
# Of a compressed message's first frame (RFC 7692 §6).
RSV1 = 0x40

# What makes a frame of a payload and its opcode.
Framing: TypeAlias = Callable[[bytes, int], bytes]


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def frame(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """One whole frame.

    :param opcode: with ``RSV1``, if that is to be set.
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


def native(name: str, framing: Framing) -> Format:
    """The native protocol, with its publications framed so."""

    def encode(item: Publication | Gap) -> bytes:
        return framing(messages.item(item), Opcode.TEXT)

    return Format(name, encode, _say)


def _say(kind: str, message: bytes) -> bytes:
    return frame(message)


NATIVE = native("native", frame)
