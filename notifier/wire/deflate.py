"""permessage-deflate without context: a message deflated once serves everyone (RFC 7692).

A compressor that remembers earlier messages makes bytes that only its own connection can read. So
both directions are negotiated without *context takeover*, which a server may ask for unasked
(§7.1.1), and nothing of a connection stays in memory between two messages.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import TypeAlias

from notifier.wire.websocket import RSV1, Framing, frame

# Half the time of zlib's usual 6 for some 4 % more bytes: it is the event loop that waits.
_LEVEL = 3
# The end of every flush, left out of the message (§7.2.1).
_TAIL = b"\x00\x00\xff\xff"
# An empty last block. Inflating comes to its end there, unless the message was cut.
_LAST = b"\x03\x00"

# What is longer is no honest offer: it is not worth the time to read it.
_MAX_OFFERS = 2048

# How an extension is offered (RFC 6455 §9.1). Nothing here is tried twice, whatever is sent.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_NAME = re.compile(rf"[ \t]*+({_TOKEN})")
_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+({_TOKEN})"
    rf"""(?:[ \t]*+=[ \t]*+(?:({_TOKEN})|"((?:[^"\\]|\\.)*+)"))?+"""
)
_END = re.compile(r"[ \t]*+(?:,|\Z)")

_WINDOW_BITS = frozenset(str(bits) for bits in range(8, 16))

_Parameters: TypeAlias = list[tuple[str, str | None]]


def negotiate(offers: str) -> str | None:
    """The answer to the first acceptable offer; ``None`` when there is none.

    :param offers: the request's ``Sec-WebSocket-Extensions``.
    """
    if len(offers) > _MAX_OFFERS:
        return None
    for name, parameters in _offers(offers):
        if name == "permessage-deflate":
            answer = _answer(parameters)
            if answer is not None:
                return answer
    return None


def _offers(text: str) -> Iterator[tuple[str, _Parameters]]:
    """The extensions by name; one that is not well written is passed over, to the next comma."""
    place = 0
    while place < len(text):
        parameters: _Parameters = []
        found = name = _NAME.match(text, place)
        while found is not None:
            place = found.end()
            found = _PARAMETER.match(text, place)
            if found is not None:
                parameters.append((found[1], _value(found)))
        end = _END.match(text, place)
        if name is not None and end is not None:
            place = end.end()
            yield name[1], parameters
        else:
            place = text.find(",", place) + 1 or len(text)


def _value(parameter: re.Match[str]) -> str | None:
    token, quoted = parameter[2], parameter[3]
    return token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _answer(parameters: _Parameters) -> str | None:
    """To an offer with these parameters (§7.1); ``None`` declines it."""
    values = dict(parameters)
    if len(values) < len(parameters) or not all(map(_acceptable, values, values.values())):
        return None
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    if "server_max_window_bits" in values:
        answer += "; server_max_window_bits=15"
    return answer


def _acceptable(key: str, value: str | None) -> bool:
    match key:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "server_max_window_bits":
            return value == "15"  # the one window that all share
        case "client_max_window_bits":
            return value is None or value in _WINDOW_BITS
        case _:
            return False


def deflating(min_bytes: int) -> Framing:
    """A framing that deflates payloads of at least so many bytes, if that makes them smaller."""

    def framing(payload: bytes, opcode: int) -> bytes:
        if len(payload) >= min_bytes:
            deflated = deflate(payload)
            if len(deflated) < len(payload):
                return frame(deflated, opcode | RSV1)
        return frame(payload, opcode)

    return framing


def deflate(payload: bytes) -> bytes:
    """The payload as a compressed message has it."""
    compressor = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data[: -len(_TAIL)]


def inflate(data: bytes, limit: int) -> bytes:
    """The payload of a compressed message; of a longer one than ``limit``, one byte more than that.

    :raises ValueError: it is not deflated, or not all of it is there.
    """
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        payload = decompressor.decompress(data + _TAIL + _LAST, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(payload) > limit:
        return payload
    # A client may have written a last block itself, and a zero byte after it (§7.2.3.4).
    rest = decompressor.unused_data
    if not decompressor.eof or rest not in (b"", b"\x00" + _TAIL + _LAST):
        raise ValueError("the deflated data does not end where the message ends")
    return payload


def longest(size: int) -> int:
    """Bytes that so many may become where deflating makes them more (zlib's ``deflateBound``)."""
    return size + size // 8 + size // 64 + 16
