from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import channels
from notifier.channels import (
    MAX_CHANNEL_BYTES,
    Namespace,
    Namespaces,
    Pattern,
    check_channel,
    check_name,
)
from notifier.errors import BadChannel, ChannelTooLong

letters = st.characters(categories=["L", "M", "N"])
parts = st.text(letters | st.sampled_from("_.~-@="), min_size=1, max_size=12)
names = (
    st.lists(parts, min_size=1, max_size=4)
    .map(lambda parts: unicodedata.normalize("NFC", ":".join(parts)))
    .filter(lambda name: len(name.encode()) <= MAX_CHANNEL_BYTES)
)


def keeps_the_rule(name: str) -> bool:
    """The rule of DESIGN §5, said another way than the code says it."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in name) or len(name.encode()) > 200:
        return False
    if unicodedata.normalize("NFC", name) != name or "" in name.split(":"):
        return False
    return all(c in "_.~-@=:" or unicodedata.category(c)[:1] in "LMN" for c in name)


@given(names)
def test_name_of_any_script_is_a_channel(name: str) -> None:
    assert check_channel(name) == name


@given(st.text(st.characters(), max_size=80) | st.text("ab:*$é́_ ", max_size=8))
def test_name_is_a_channel_exactly_when_it_keeps_the_rule(name: str) -> None:
    try:
        check_channel(name)
    except (BadChannel, ChannelTooLong) as refusal:
        assert not keeps_the_rule(name)
        assert refusal.field == "channel"
        assert refusal.message.encode()  # it can be sent
    else:
        assert keeps_the_rule(name)


@pytest.mark.parametrize(
    "name",
    ["alerts", "a", "A-b_c.d~e@f=g", "team:db:disk", "größe", "警报", "оповещения", "चेतावनी",
     "แจ้งเตือน", "二〇二六", "٤٢", "x" * 200, "é" * 100],
)  # fmt: skip
def test_names_of_the_world_are_channels(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "empty"),
        ("$sys", "leading \\$"),
        ("alerts:*", "only allowed in patterns"),
        ("e\u0301", "NFC"),
        (":a", "empty part"),
        ("a:", "empty part"),
        ("a::b", "empty part"),
        ("a b", "' ' is not allowed"),
        ("a\x00b", r"'\\x00' is not allowed"),
        ("a\u202eb", r"'\\u202e' is not allowed"),
        ("a\u2066b", "not allowed"),
        ("a\u200bb", "not allowed"),
        ("a/b", "'/' is not allowed"),
        ("a,b", "',' is not allowed"),
        ("a;b", "';' is not allowed"),
        ("a\n", "not allowed"),
        ("😀", "not allowed"),
        ("a\ue000", "not allowed"),
        ("\ud800", "lone surrogate"),
        ("a\udfff", "lone surrogate"),
    ],
)
def test_refusal_says_which_rule_was_broken(name: str, problem: str) -> None:
    with pytest.raises(BadChannel, match=problem):
        check_channel(name)


@pytest.mark.parametrize("name", [5, True, b"alerts", ["alerts"], {"a": 1}, 1e400])
def test_name_must_be_a_string(name: object) -> None:
    with pytest.raises(BadChannel, match="must be a string"):
        check_channel(name)


def test_name_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(BadChannel, match="Name the channel"):
        check_channel(None)


def test_refusal_shows_control_characters_escaped() -> None:
    with pytest.raises(BadChannel) as caught:
        check_channel("a\u202egnp.exe\x00")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("character", ["x", "\ud800", "é", "*"])
def test_endless_name_is_refused_in_short_and_not_remembered(character: str) -> None:
    before = channels._problem.cache_info().currsize
    with pytest.raises(ChannelTooLong, match="200 are allowed") as caught:
        check_channel(character * 10_000_000)
    assert len(caught.value.message) < 600
    assert channels._problem.cache_info().currsize == before


def test_namespace_is_named_before_the_first_colon() -> None:
    audit, rest = Namespace(history_size=5), Namespace()
    spaces = Namespaces(rest, {"audit": audit})
    assert spaces.of("audit:db:1") is audit
    assert spaces.of("audit") is rest
    assert spaces.of("audits:db") is rest
    assert spaces.of("db:audit:1") is rest
    assert Namespaces().of("audit:db") == Namespace()


def test_namespace_without_history_is_ephemeral() -> None:
    assert Namespace(history_size=0).ephemeral
    assert not Namespace(history_size=1).ephemeral


@pytest.mark.parametrize(("name", "size"), [("abc", 3), ("éa", 3), ("警", 3), ("a:*", 3)])
def test_names_are_as_long_as_they_may_be_and_not_a_byte_longer(name: str, size: int) -> None:
    assert check_name(name, longest=size) == name
    with pytest.raises(ChannelTooLong, match="max_channel_name_bytes") as caught:
        check_name(name, longest=size - 1)
    assert (caught.value.limit, caught.value.field) == (size - 1, "channel")


@pytest.mark.parametrize(("name", "size"), [("x" * 201, 201), ("é" * 101, 202)])
def test_refusal_says_how_long_it_is(name: str, size: int) -> None:
    with pytest.raises(ChannelTooLong, match=f"{size} bytes long, 200 are allowed"):
        check_channel(name)


@pytest.mark.parametrize("name", ["x" * 201, "é" * 101, "x*" + "é" * 100, "\ud800" * 201])
def test_nothing_is_ever_longer_than_the_format_allows(name: str) -> None:
    with pytest.raises(ChannelTooLong):
        check_name(name)
    with pytest.raises(ChannelTooLong):
        Pattern.parse(name)
