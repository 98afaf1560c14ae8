"""What a request's body may be: so large, and compressed in these ways."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from notifier.errors import BadBody, BodyTooLarge, UnsupportedCoding

# RFC 9110 §8.4.1; what zlib calls the window says which of its containers is meant.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
CODINGS = tuple(_WINDOWS)
# A stream that is so many times larger unpacked is a bomb, once it is larger than this at all: of
# repeated lines of JSON gzip makes a hundredth.
MAX_RATIO = 300
PLAUSIBLE_BYTES = 1 << 20
# What is unpacked of a streamed body at a time.
PIECE_BYTES = 1 << 16


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
    name = _known(coding)
    if name is None:
        return body
    unpacking = zlib.decompressobj(_WINDOWS[name])
    try:
        unpacked = unpacking.decompress(body, limit + 1)
    except zlib.error:
        raise BadBody(f"The body is not {name}.") from None
    check_size(len(unpacked), limit=limit)
    if not unpacking.eof or unpacking.unused_data:
        raise BadBody(f"The body is not one whole {name} stream.")
    return unpacked


class Unpacking:
    """A body's ``Content-Encoding``, taken off piece by piece as it comes in.

    Several gzip streams one after the other are one (RFC 1952 §2.2).

    :raises UnsupportedCoding:
    """

    def __init__(self, coding: str) -> None:
        self._name = _known(coding)
        self._taken = 0
        self._given = 0
        self._stream = None if self._name is None else zlib.decompressobj(_WINDOWS[self._name])

    @property
    def compressed(self) -> bool:
        """Whether there is one."""
        return self._stream is not None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What is in it, none larger than the data or :data:`PIECE_BYTES`.

        :raises BadBody: it is not compressed like that.
        """
        if self._stream is None:
            yield data
            return
        self._taken += len(data)
        more = False
        while data or more:
            if self._given > PLAUSIBLE_BYTES + MAX_RATIO * self._taken:
                raise BadBody(
                    f"The body unpacks to more than {MAX_RATIO} times its size: no text does."
                )
            if self._stream.eof:
                if self._name != "gzip":
                    raise BadBody(f"Something follows the {self._name} stream.")
                self._stream = zlib.decompressobj(_WINDOWS[self._name])
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise BadBody(f"The body is not {self._name}.") from None
            # All of the input may have been taken and not all of it given out.
            more = len(piece) == PIECE_BYTES and not self._stream.eof
            data = self._stream.unconsumed_tail or self._stream.unused_data
            self._given += len(piece)
            if piece:
                yield piece

    def end(self) -> None:
        """:raises BadBody: it was not whole."""
        if self._stream is not None and not self._stream.eof:
            raise BadBody(f"The {self._name} stream ends in the middle.")


def _known(coding: str) -> str | None:
    """The coding's name; ``None`` where there is none.

    :raises UnsupportedCoding:
    """
    name = coding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return None
    if name not in _WINDOWS:
        raise UnsupportedCoding(
            f"The Content-Encoding {coding[:60]!r} is not understood, "
            f"but {' and '.join(CODINGS)} are.",
            accepted=list(CODINGS),
        )
    return name
