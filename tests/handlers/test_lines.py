"""A body's lines, however it is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.lines import Line, LineSplitter

LIMIT = 10


def split(*pieces: bytes, limit: int = LIMIT) -> list[tuple[int, bytes | None]]:
    splitter = LineSplitter(limit=limit)
    lines: list[Line] = []
    for piece in pieces:
        lines += splitter.feed(piece)
    return lines + splitter.end()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"a", [(1, b"a")]),
        (b"a\n", [(1, b"a")]),
        (b"a\nb", [(1, b"a"), (2, b"b")]),
        (b"a\r\nb\r\n", [(1, b"a"), (2, b"b")]),
        (b"\n\n a \n\r\n\t\nb", [(3, b" a "), (6, b"b")]),
        (b"\xef\xbb\xbfa\nb", [(1, b"a"), (2, b"b")]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb", [(1, b"\xef\xbb")]),
        (b"a\n\xef\xbb\xbfb", [(1, b"a"), (2, b"\xef\xbb\xbfb")]),  # elsewhere it is no mark
        (b"a\rb\r\r\n", [(1, b"a\rb\r")]),
        (b"\x0c\n", [(1, b"\x0c")]),  # no white space of JSON's
        (b"x" * 10 + b"\n", [(1, b"x" * 10)]),
        (b"x" * 10 + b"\r\n", [(1, b"x" * 10)]),
        (b"\xef\xbb\xbf" + b"x" * 10, [(1, b"x" * 10)]),
        (b"x" * 11 + b"\na", [(1, None), (2, b"a")]),
        (b"x" * 11, [(1, None)]),
        (b"a\n" + b"x" * 5000 + b"\r\n\nb", [(1, b"a"), (2, None), (4, b"b")]),
        (b" " * 11 + b"\na", [(1, None), (2, b"a")]),
    ],
)
def test_lines_are_numbered_and_blank_ones_passed_over(
    body: bytes, expected: list[tuple[int, bytes | None]]
) -> None:
    assert split(body) == expected
    assert split(*(body[i : i + 1] for i in range(len(body)))) == expected


@given(
    body=st.lists(
        st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"\xef\xbb\xbf", b"\xef", b"a", b"bcdefgh"]),
        max_size=40,
    ).map(b"".join)
    | st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 300), max_size=30),
)
def test_how_the_body_is_cut_into_pieces_makes_no_difference(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    texts = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts = [text.removesuffix(b"\r") for text in texts]
    expected = [
        (number, None if len(text) > LIMIT else text)
        for number, text in enumerate(texts, start=1)
        if text.strip(b" \t\r") or len(text) > LIMIT
    ]
    assert split(*pieces) == expected


def test_no_more_is_held_than_a_line() -> None:
    splitter = LineSplitter(limit=LIMIT)
    for _ in range(1000):
        assert splitter.feed(b"x" * 100) == []
        assert len(splitter._partial) <= LIMIT + 1
    assert splitter.feed(b"\nb\n") == [(1, None), (2, b"b")]
    assert splitter.number == 2
