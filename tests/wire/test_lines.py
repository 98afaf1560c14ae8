from __future__ import annotations

import json

from notifier.notification import Gap, Position, Publication
from notifier.wire.chunked import LAST, bare, chunk
from notifier.wire.lines import LINES, LINES_BARE


def test_an_item_is_one_line_of_json() -> None:
    items = [
        Publication("a", Position("e", 1), "i", 0, b'"message":"two\\nlines"'),
        Gap("a", None, Position("e", 7)),
    ]
    for item in items:
        data = LINES_BARE.encode(item)
        assert data.count(b"\n") == 1 and data.endswith(b"\n")
        assert json.loads(data)["channel"] == "a"
        assert LINES.encode(item) == chunk(data)
    assert LINES_BARE.say("end", b"{}") == bare(b"{}\n")


def test_a_chunk_says_its_length_in_hex() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert LAST == b"0\r\n\r\n"
