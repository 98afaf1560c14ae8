from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.instants import format_instant, parse_instant

FIRST_MS, LAST_MS = -62135596800000, 253402300799999  # the years 1 to 9999
milliseconds = st.integers(min_value=FIRST_MS, max_value=LAST_MS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T17:24:00.123Z", 1795368240123),
        ("2026-11-22t17:24:00.123z", 1795368240123),
        ("2026-11-22 17:24:00.123Z", 1795368240123),
        ("2026-11-22T18:24:00.123+01:00", 1795368240123),
        ("2026-11-22T11:54:00.123-05:30", 1795368240123),
        ("2026-11-22T17:24:00.123999999Z", 1795368240123),
        ("1969-12-31T23:59:59.9995Z", -1),
        ("9999-12-31T23:59:59.999999999Z", LAST_MS),
        ("0001-01-01T00:00:00Z", FIRST_MS),
    ],
)
def test_rfc_3339_time_is_read(text: str, expected: int) -> None:
    assert parse_instant(text) == expected


@given(milliseconds)
def test_written_time_is_read_again(ms: int) -> None:
    text = format_instant(ms)
    assert len(text) == len("2026-11-22T17:24:00.123Z")
    assert parse_instant(text) == ms


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(min_value=-1439, max_value=1439),
)
def test_time_of_any_zone_is_the_same_instant(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since_1970 = zoned - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_instant(zoned.isoformat()) == since_1970 // timedelta(milliseconds=1)


@given(st.text())
def test_any_text_is_a_time_that_can_be_written_or_a_value_error(text: str) -> None:
    try:
        ms = parse_instant(text)
    except ValueError as error:
        assert "is not an RFC 3339 time" in str(error)
    else:
        format_instant(ms)


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T17:24:00", "2026-11-22T17:24Z", "2026-13-01T00:00:00Z",
     "2026-02-30T00:00:00Z", "2026-11-22T25:00:00Z", "0000-01-01T00:00:00Z", "20261122T172400Z",
     "٢٠٢٦-11-22T17:24:00Z", "2026-11-22T17:24:00Z\n", "2026-11-22T17:24:00.Z",
     "2026-11-22T17:24:00+24:00", "2026-W47-7T17:24:00Z", "1795368240", "\ud800"],
)  # fmt: skip
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "9999-12-31T12:00:00-23:59"]
)
def test_time_that_utc_has_no_year_for_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time"):
        parse_instant(text)
