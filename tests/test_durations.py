from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.durations import parse_duration

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
parts = st.lists(
    st.tuples(st.integers(min_value=0, max_value=10**6), st.sampled_from(sorted(UNITS))),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90", 90.0),
        ("1.5", 1.5),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("2w", 1209600.0),
        (" 10M ", 600.0),
        ("0.25h", 900.0),
    ],
)
def test_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(parts)
def test_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text) == pytest.approx(sum(n * UNITS[unit] for n, unit in parts))


@pytest.mark.parametrize(
    "text",
    ["", " ", "-5", "+5", "m", "10x", "1h 30m", "1e3", "1e400", "inf", "nan", "1_000", "١٠m",
     "10m-", "1m30", "5.", ".5s", "1..5s", "1\x0010m", "10m\u202e", "0x10", "9" * 13, "\ud800"],
)  # fmt: skip
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_finite_duration_or_a_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        assert len(str(error)) < 400
    else:
        assert 0 <= seconds < float("inf")


def test_refusal_shows_little_of_an_endless_text() -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration("x" * 10_000_000)
    assert len(str(caught.value)) < 300
