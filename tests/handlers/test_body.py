"""Compressed bodies, taken apart piece by piece."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.body import MAX_RATIO, PIECE_BYTES, PLAUSIBLE_BYTES, Unpacking
from notifier.errors import BadBody, UnsupportedCoding


def unpack(coding: str, *pieces: bytes) -> bytes:
    unpacking = Unpacking(coding)
    out = []
    for piece in pieces:
        for part in unpacking.pieces(piece):
            assert len(part) <= max(len(piece), PIECE_BYTES)
            out.append(part)
    unpacking.end()
    return b"".join(out)


@given(
    parts=st.lists(
        st.binary(max_size=200)
        | st.integers(PIECE_BYTES - 2, 3 * PIECE_BYTES).map(lambda size: b"0" * size),
        max_size=4,
    ),
    step=st.integers(1, 400),
)
def test_it_is_the_same_however_it_is_cut(parts: list[bytes], step: int) -> None:
    whole = b"".join(parts)
    for coding, packed in (
        ("gzip", gzip.compress(whole)),
        ("x-gzip", b"".join(gzip.compress(part) for part in [b"", *parts])),
        ("deflate", zlib.compress(whole)),
        ("identity", whole),
    ):
        pieces = [packed[i : i + step] for i in range(0, len(packed), step)]
        assert unpack(coding, *pieces) == whole


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b""),
        ("gzip", b"{}"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1]),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"more"),
        ("deflate", gzip.compress(b"{}", mtime=0)),
        ("deflate", zlib.compress(b"{}") + zlib.compress(b"{}")),
    ],
)
def test_what_is_not_compressed_like_that_is_refused(coding: str, body: bytes) -> None:
    with pytest.raises(BadBody):
        unpack(coding, body)


def test_another_coding_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UnsupportedCoding):
        Unpacking("br")


def test_little_that_becomes_much_is_given_out_in_pieces_and_too_much_is_refused() -> None:
    packed = gzip.compress(b"0" * 100_000_000)
    sizes: list[int] = []
    with pytest.raises(BadBody, match=f"{MAX_RATIO} times"):
        for piece in Unpacking("gzip").pieces(packed):
            sizes.append(len(piece))
    assert max(sizes) == PIECE_BYTES
    assert sum(sizes) <= PLAUSIBLE_BYTES + MAX_RATIO * len(packed) + PIECE_BYTES


def test_lines_that_are_all_alike_are_no_bomb() -> None:
    whole = b'{"channel":"load","message":"the same line over and over","priority":3}\n' * 100_000
    packed = gzip.compress(whole)
    assert unpack("gzip", packed) == whole
