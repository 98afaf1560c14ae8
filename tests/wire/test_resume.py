from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadSince, NotifierError, TokenTooLong
from notifier.notification import Position
from notifier.wire.resume import (
    MAX_TOKEN_BYTES,
    TOKEN_OVERLAP_MS,
    After,
    All,
    Last,
    Latest,
    ResumeToken,
    Since,
    Time,
    parse_since,
    starts,
)

NOW_MS = 1795368240123
positions = st.builds(
    Position, st.text("019azAZ", min_size=1, max_size=32), st.integers(0, 10**18 - 1)
)
parts = st.text(
    st.characters(categories=["L", "N"]) | st.sampled_from("_.~-@="), min_size=1, max_size=6
)
channels = (
    st.lists(parts, min_size=1, max_size=3)
    .map(":".join)
    .map(lambda name: unicodedata.normalize("NFC", name))
)
tokens = st.builds(
    ResumeToken,
    st.dictionaries(channels, positions, max_size=8),
    st.integers(0, 10**15 - 1),
)


@given(tokens)
def test_resume_token_is_read_as_it_is_written(token: ResumeToken) -> None:
    assert parse_since(str(token), now_ms=10**15) == token


@given(positions)
def test_position_is_read_as_it_is_written(position: Position) -> None:
    assert parse_since(str(position), now_ms=NOW_MS) == After(position)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("latest", Latest()),
        ("all", All()),
        ("-20", Last(20)),
        ("-999999999", Last(999_999_999)),
        ("k3Jd9wQa:42", After(Position("k3Jd9wQa", 42))),
        ("10:5", After(Position("10", 5))),
        ("10m", Time(NOW_MS - 600_000)),
        ("90", Time(NOW_MS - 90_000)),
        ("0", Time(NOW_MS)),
        ("9999999999w", Time(0)),
        ("2026-11-22T17:24:00Z", Time(NOW_MS - 123)),
        ("2026-11-22T18:24:00.123+01:00", Time(NOW_MS)),
        (";t=1", ResumeToken({}, 1000)),
        ("a=e:1;t=1795368239.5", ResumeToken({"a": Position("e", 1)}, 1795368239500)),
        ("a=b=e:1,;t=0.001", ResumeToken({"a=b": Position("e", 1)}, 1)),
    ],
)
def test_since_is_read(text: str, since: Since | ResumeToken) -> None:
    assert parse_since(text, now_ms=NOW_MS) == since


@pytest.mark.parametrize(
    "text",
    ["", " ", "Latest", "ALL", "-0", "--5", "-1.5", "-1e3", "-" + "9" * 10, "e:-1", "e:1e400",
     "2026-11-22", "yesterday", "a=e:1", "a=e:1;t=", "a=e:1;t=-1", "a=e:1;t=1.1234567890", "a;t=1",
     "a=;t=1", "=e:1;t=1", "a=e;t=1", "$a=e:1;t=1", "a=e:1,b;t=1", "a b=e:1;t=1", "e\u0301=e:1;t=1",
     "a\x00=e:1;t=1", "\u202ea=e:1;t=1", "\ud800", "\ud800=e:1;t=1", "a=e:1;t=" + "9" * 13, "nan"],
)  # fmt: skip
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(BadSince) as caught:
        parse_since(text, now_ms=NOW_MS)
    assert caught.value.field == "since"
    assert len(caught.value.message.encode()) < 600


def test_part_of_a_token_that_can_not_be_read_is_named() -> None:
    with pytest.raises(BadSince, match="'b=nowhere' of the resume token"):
        parse_since("a=e:1,b=nowhere;t=1", now_ms=NOW_MS)


@given(st.text(st.characters()))
def test_any_text_is_a_start_or_a_refusal(text: str) -> None:
    try:
        starts(text, ["a", "b"], now_ms=NOW_MS)
    except NotifierError as refusal:
        assert refusal.message.encode()


def test_token_may_be_four_kibibytes_long_and_no_longer() -> None:
    longest = "a=e:1," * 682 + ";t=1"
    assert len(longest) == MAX_TOKEN_BYTES
    assert parse_since(longest, now_ms=NOW_MS) == ResumeToken({"a": Position("e", 1)}, 1000)
    with pytest.raises(TokenTooLong) as caught:
        parse_since(longest + "1", now_ms=NOW_MS)
    assert (caught.value.limit, caught.value.status) == (4096, 431)


@pytest.mark.parametrize("text", ["é" * 2049, "x" * 10_000_000, "\ud800" * 5000, "1s" * 5_000_000])
def test_length_is_counted_in_bytes(text: str) -> None:
    with pytest.raises(TokenTooLong):
        parse_since(text, now_ms=NOW_MS)


# --- several channels ---


def starts_of(since: str | None, channels: list[str]) -> dict[str, Since]:
    start_of = starts(since, channels, now_ms=NOW_MS)
    return {channel: start_of(channel) for channel in channels}


def test_nothing_asked_for_is_latest() -> None:
    assert starts_of(None, ["a", "b", "a"]) == {"a": Latest(), "b": Latest()}


@pytest.mark.parametrize(
    ("text", "since"), [("all", All()), ("-5", Last(5)), ("10m", Time(NOW_MS - 600_000))]
)
def test_what_holds_for_any_channel_holds_for_each(text: str, since: Since) -> None:
    assert starts_of(text, ["a", "b"]) == {"a": since, "b": since}


def test_token_gives_each_channel_its_own_place() -> None:
    assert starts_of("a=e:1,c=f:2;t=100", ["a", "b"]) == {
        "a": After(Position("e", 1)),
        "b": Time(100_000 - TOKEN_OVERLAP_MS),
    }


def test_one_position_is_a_place_in_one_channel_alone() -> None:
    assert starts_of("e:1", ["a", "a"]) == {"a": After(Position("e", 1))}
    for names in (["a", "b"], ["a:*"]):
        with pytest.raises(BadSince, match=r"=e:1,.*;t="):
            starts("e:1", names, now_ms=NOW_MS)


def test_token_gives_channels_that_a_pattern_brings_theirs() -> None:
    start_of = starts("a:1=e:1;t=100", ["a:*"], now_ms=NOW_MS)
    assert start_of("a:1") == After(Position("e", 1))
    assert start_of("a:2") == Time(100_000 - TOKEN_OVERLAP_MS)


def test_bad_since_is_refused_even_where_no_channel_is_named() -> None:
    with pytest.raises(BadSince):
        starts("nowhere", [], now_ms=NOW_MS)
    assert starts_of("e:1", []) == {}


def test_token_from_the_future_was_made_before_the_clock_was_set_back() -> None:
    token = parse_since(f"a=e:1;t={NOW_MS // 1000 + 3600}", now_ms=NOW_MS)
    assert token == ResumeToken({"a": Position("e", 1)}, NOW_MS)
