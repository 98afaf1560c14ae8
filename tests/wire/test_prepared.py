from __future__ import annotations

from notifier.notification import Gap, Position, Publication
from notifier.wire.prepared import Format, Prepared

PUBLICATION = Publication("a", Position("e", 1), "x", 0, b"")


def say(kind: str, message: bytes) -> bytes:
    return message


class Encoder:
    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.calls: list[Publication | Gap] = []

    def __call__(self, item: Publication | Gap) -> bytes:
        self.calls.append(item)
        return self.mark * 100


def test_nothing_is_encoded_before_it_is_needed() -> None:
    encoder = Encoder(b"1")
    Format("one", encoder, say)
    Prepared(PUBLICATION)
    assert encoder.calls == []


def test_item_is_encoded_once_in_each_format_and_the_bytes_are_shared() -> None:
    one, two = Encoder(b"1"), Encoder(b"2")
    # Formats are told apart by what they are, not by what they are called.
    formats = [Format("same", one, say), Format("same", two, say)]
    prepared = Prepared(PUBLICATION)
    first = [prepared.encoded(format) for format in formats]
    second = [prepared.encoded(format) for format in formats]
    assert first == [b"1" * 100, b"2" * 100]
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert one.calls == two.calls == [PUBLICATION]


def test_empty_encoding_is_remembered_too() -> None:
    encoder = Encoder(b"")
    format = Format("empty", encoder, say)
    prepared = Prepared(Gap("a", None, Position("e", 1)))
    assert prepared.encoded(format) == prepared.encoded(format) == b""
    assert len(encoder.calls) == 1
