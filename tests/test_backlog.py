"""Where too much waits, those go for whom most does."""

from __future__ import annotations

import pytest

from notifier.backlog import those_over

WAITING = [(20, "b"), (30, "c"), (10, "a"), (30, "d")]


@pytest.mark.parametrize(
    ("max_bytes", "gone"),
    [(0, ""), (90, ""), (89, "c"), (60, "c"), (59, "cd"), (29, "cdb"), (9, "cdba")],
)
def test_as_few_go_as_leave_no_more_than_is_allowed(max_bytes: int, gone: str) -> None:
    assert those_over(max_bytes, WAITING) == list(gone)


def test_nobody_goes_where_nothing_waits() -> None:
    assert those_over(1, []) == []
