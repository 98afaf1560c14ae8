from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadJSON
from notifier.jsontext import parse_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.booleans(), st.sampled_from([None, 2]))
def test_what_another_encoder_wrote_is_read(value: object, ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    assert parse_json(text) == value
    assert parse_json(text.encode()) == value


@given(st.text(st.characters()) | st.binary())
def test_any_text_and_bytes_are_a_value_or_bad_json(text: str | bytes) -> None:
    try:
        parse_json(text)
    except BadJSON as error:
        assert error.line >= 1
        assert error.column >= 1
        assert len(error.message) < 300


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("x", 1, 1),
        ('{"a": x}', 1, 7),
        ("[1,]", 1, 4),
        ("{} x", 1, 4),
        ("\n\n  x", 3, 3),
        ("[\n", 2, 1),
        ("[1,\r\n 2,\r\n x]", 3, 2),
        ('"é" x', 1, 5),
        ('{"😀": é}', 1, 7),
        ("\ufeff{}", 1, 1),
    ],
)
def test_place_is_counted_in_characters_from_one(text: str, line: int, column: int) -> None:
    for given_as in (text, text.encode()):
        with pytest.raises(BadJSON) as caught:
            parse_json(given_as)
        assert (caught.value.line, caught.value.column) == (line, column)
        assert f"line {line}, column {column}" in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-Infinity", "nan", "'a'", "01", "+1", ".5", "1.", "0x10", "{a: 1}",
     "[1] [2]", "// no\n1", "undefined", "True", '"a\x00b"', '"a\nb"', r'"\x41"', r'"\ud800"',
     r'"\udc00\ud800"', "\ud800", '"\ud800"', '{"\udfff": 1}', "\u00a0{}", "9" * 5000,
     "[" * 1000 + "]" * 1000, '{"a":' * 1000 + "1" + "}" * 1000],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(BadJSON):
        parse_json(text)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"\xfe\xff\x00{"])
def test_bytes_that_are_not_utf_8_are_refused(text: bytes) -> None:
    with pytest.raises(BadJSON):
        parse_json(text)


def test_ten_million_brackets_are_refused() -> None:
    with pytest.raises(BadJSON):
        parse_json("[" * 10_000_000)


def test_ten_megabytes_of_string_are_read() -> None:
    assert len(parse_json('"' + "x" * 10_000_000 + '"')) == 10_000_000


def test_last_of_two_members_with_one_name_counts() -> None:
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}


def test_huge_numbers_are_read_exactly_or_as_infinite() -> None:
    assert parse_json("9" * 400) == int("9" * 400)
    assert parse_json("-1e400") == -math.inf


def test_integer_that_was_read_can_be_written() -> None:
    for digits in range(4290, 4320):
        try:
            value = parse_json("-" + "9" * digits)
        except BadJSON:
            continue
        assert len(str(value)) == digits + 1
