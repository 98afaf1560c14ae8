from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.reach import Reach
from notifier.channels import Pattern
from notifier.errors import BadChannel


def tidy(text: str) -> str:
    """Without what neither a name nor a pattern may have: empty parts, and a * beside another."""
    return re.sub(r"([*:])\1+", r"\1", text).strip(":")


# Few letters, so that grants and patterns meet often.
pieces = st.text("ab:", max_size=3)
patterns = st.lists(pieces, min_size=2, max_size=4).map("*".join).map(tidy)
names = st.text("ab:", min_size=1, max_size=3).map(tidy).filter(bool)
fillings = st.lists(st.text("ab:c", max_size=4), min_size=4, max_size=4)


@given(grant=patterns, pattern=patterns, fillings=fillings)
def test_whatever_a_covered_pattern_matches_is_covered(
    grant: str, pattern: str, fillings: list[str]
) -> None:
    reach = Reach.of([grant])
    first, *others = pattern.split("*")
    name = first + "".join(f"{fillings.pop()}{part}" for part in others)
    assert Pattern.parse(pattern).matches(name)
    if reach.covers(pattern):
        assert Pattern.parse(grant).matches(name)
        assert reach.covers(name)


@given(grant=patterns, pattern=patterns)
def test_pattern_is_covered_wherever_each_of_its_names_is(grant: str, pattern: str) -> None:
    """A letter the grant does not know stands for all that ``*`` may be."""
    assert Reach.of([grant]).covers(pattern) == Pattern(grant).matches(pattern.replace("*", "z"))


@given(grants=st.lists(patterns | names, max_size=4), name=pieces)
def test_name_is_covered_exactly_when_a_grant_is_it_or_matches_it(
    grants: list[str], name: str
) -> None:
    expected = any(Pattern(g).matches(name) if "*" in g else g == name for g in grants)
    assert Reach.of(grants).covers(name) == expected


@pytest.mark.parametrize(
    ("grant", "covered", "uncovered"),
    [
        ("builds:*", ["builds:a", "builds:a:b", "builds:*", "builds:a*", "builds:*:x"],
         ["builds", "build*", "builds*", "*", "xbuilds:a", "*builds:a"]),
        ("*:errors", ["a:errors", "a:b:errors", "*:errors", "a*:errors"],
         ["errors", "a:errors:b", "*:errors*", "*errors", "*"]),
        ("a*b*c", ["abc", "axbxc", "a*b*c", "ab*c", "a*bbc"], ["a*c", "acb", "*b*c", "a*b*"]),
        ("alerts", ["alerts"], ["alerts:db", "alert", "alerts*", "*", "", "Alerts"]),
        ("*", ["alerts", "a:b", "*", "*:x", "user:*"], []),
    ],
)  # fmt: skip
def test_grant_covers(grant: str, covered: list[str], uncovered: list[str]) -> None:
    reach = Reach.of([grant])
    assert [name for name in covered if not reach.covers(name)] == []
    assert [name for name in uncovered if reach.covers(name)] == []


def test_what_only_two_grants_cover_together_is_not_covered() -> None:
    assert not Reach.of(["a*", "*b"]).covers("*")


def test_reach_of_nothing_covers_nothing() -> None:
    nothing = Reach.of([])
    assert not nothing
    assert not any(nothing.covers(name) for name in ("", "a", "*"))


def test_reach_of_everything_covers_everything() -> None:
    everywhere = Reach.of(["*"])
    assert everywhere
    assert everywhere.covers("*")


@pytest.mark.parametrize("channel", ["", "a b", "a**", "$sys", "e\u0301", "a::b", 5, None])
def test_grant_must_be_a_name_or_a_pattern(channel: object) -> None:
    with pytest.raises(BadChannel):
        Reach.of(["alerts", channel])


def test_reach_is_shown_as_it_was_given() -> None:
    assert str(Reach.of(["builds:*", "alerts", "*:x", "alerts"])) == "*:x, alerts, builds:*"


def test_hostile_pattern_is_compared_in_linear_time() -> None:
    reach = Reach.of(["*".join(["a"] * 40) + "*b*c"])
    started = time.process_time()
    for _ in range(100):
        reach.covers("a" * 199 + "b")
    assert time.process_time() - started < 1
