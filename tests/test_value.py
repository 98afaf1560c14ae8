from __future__ import annotations

import pytest

from notifier.notification import Position
from notifier.value import value


@value
class Pair:
    left: int
    right: int = 2


def test_values_are_what_they_hold() -> None:
    assert Pair(1) == Pair(1, 2) != Pair(1, 3)
    assert {Pair(1): "a"}[Pair(1, 2)] == "a"
    assert repr(Pair(1)) == "Pair(left=1, right=2)"
    assert Pair(1) != (1, 2)


def test_value_holds_nothing_else() -> None:
    with pytest.raises(AttributeError):
        Position("e", 1).ofset = 2  # type: ignore[attr-defined]
    assert not hasattr(Pair(1), "__dict__")
