"""What a request's body may be: so large, and compressed in these ways."""

from __future__ import annotations

import zlib

from notifier.errors import BadBody, BodyTooLarge, UnsupportedCoding

# RFC 9110 §8.4.1; what zlib calls the window says which of its containers is meant.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
CODINGS = tuple(_WINDOWS)


def check_size(size: int, *, limit: int) -> None:
    """:raises BodyTooLarge:"""
    if size > limit:
        raise BodyTooLarge(f"The body is over {limit} bytes (setting max_body_bytes).", limit=limit)


def decompressed(body: bytes, coding: str, *, limit: int) -> bytes:
    """The body without its ``Content-Encoding``; never more than ``limit`` bytes are unpacked.

    :raises UnsupportedCoding:
    :raises BadBody: it is not compressed like that, or not whole.
    :raises BodyTooLarge:
    """
    name = coding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return body
    if name not in _WINDOWS:
        raise UnsupportedCoding(
            f"The Content-Encoding {coding[:60]!r} is not understood, "
            f"but {' and '.join(CODINGS)} are.",
            accepted=list(CODINGS),
        )
    unpacking = zlib.decompressobj(_WINDOWS[name])
    try:
        unpacked = unpacking.decompress(body, limit + 1)
    except zlib.error:
        raise BadBody(f"The body is not {name}.") from None
    check_size(len(unpacked), limit=limit)
    if not unpacking.eof or unpacking.unused_data:
        raise BadBody(f"The body is not one whole {name} stream.")
    return unpacked
