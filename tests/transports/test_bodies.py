"""The parsers the other tests trust."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.transports.bodies import Chunks, Event, EventParser, LineParser

BODY = (
    b"\xef\xbb\xbfretry: 10\r\n\r\n: hello\n\nid: 1\ndata: a\ndata:b\n\n"
    b"event: x\rdata:  \xc3\xa9\r\rid: 7\n\ndata\n\nid\ndata: last\n\ndata: lost"
)
EVENTS = [
    Event("message", "a\nb", "1"),
    Event("x", " é", "1"),
    Event("message", "", "7"),
    Event("message", "last", ""),
]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(st.lists(st.integers(0, 1000)))
def test_events_are_read_however_they_are_cut(cuts: list[int]) -> None:
    parser = EventParser()
    assert [event for piece in pieces(BODY, cuts) for event in parser.feed(piece)] == EVENTS
    assert (parser.last_id, parser.retry, parser.comments) == ("", 10, 1)


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 1000)))
def test_chunks_are_read_however_they_are_cut(chunks: list[bytes], cuts: list[int]) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    parser = Chunks()
    assert b"".join(map(parser.feed, pieces(coded, cuts))) == b"".join(chunks)
    assert parser.done


def test_what_there_is_of_a_chunk_is_given() -> None:
    parser = Chunks()
    assert parser.feed(b"5\r\nhe") == b"he"
    assert parser.feed(b"llo") == b"llo"
    assert parser.feed(b"\r\n1\r\n!") == b"!"
    assert not parser.done


def test_a_line_is_read_when_it_is_whole() -> None:
    parser = LineParser()
    assert parser.feed(b'{"a":1}\n{"b"') == [{"a": 1}]
    assert parser.feed(b":2}") == []
    assert parser.feed(b"\n") == [{"b": 2}]
