"""Points in time on the wire: RFC 3339 text outside, milliseconds since 1970 inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def parse_instant(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time; the zone is required, finer digits are cut.

    :raises ValueError: with the rule it broke.
    """
    if _RFC3339.fullmatch(text):
        try:
            # To UTC first: in its own zone a time may lie within the year 9999, and not in ours.
            moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
            return (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            pass  # a 13th month, a year 0: said below
    raise ValueError(f"{text[:40]!r} is not an RFC 3339 time such as 2026-11-22T17:24:00Z")


def format_instant(milliseconds: int) -> str:
    """The RFC 3339 time, in UTC, to the millisecond: ``2026-11-22T17:24:00.123Z``."""
    moment = _EPOCH + milliseconds * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
