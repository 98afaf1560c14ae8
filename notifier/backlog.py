"""What waits for all connections together, and who goes where that is too much."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")


def those_over(max_bytes: int, backlogs: Sequence[tuple[int, T]]) -> list[T]:
    """Those for whom most waits, as few as leave no more than is allowed.

    :param max_bytes: 0: any number.
    :param backlogs: how many bytes wait, and for whom.
    """
    total = sum(size for size, _ in backlogs)
    if not max_bytes or total <= max_bytes:
        return []
    found = []
    for size, one in sorted(backlogs, key=itemgetter(0), reverse=True):
        if total <= max_bytes:
            break
        found.append(one)
        total -= size
    return found
