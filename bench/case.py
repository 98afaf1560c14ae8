"""A case: several sides that take turns, and what is compared of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

# What a turn gave, by the figure's name. ``wrong`` counts what was not delivered as it should be.
Turn = dict[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured.

    :ivar scale: what it is multiplied with to be shown in its unit.
    """

    name: str
    title: str
    unit: str
    scale: float = 1.0
    digits: int = 1
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that take turns.

    :ivar begin: gives a context in which the server runs, whose value takes a turn when called.
    :ivar title: of a row, for people.
    """

    name: str
    title: str
    begin: Callable[[], AbstractContextManager[Callable[[], Turn]]]


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured side by side. The first side is ours: the others are what it is compared to.

    :ivar main: the figure that is compared first.
    :ivar rounds: so many at most, where more would show nothing new.
    :ivar warm: each side has a turn beforehand that does not count.
    :ivar absent: why some are not here, by their names.
    """

    name: str
    title: str
    sides: Sequence[Side]
    figures: Sequence[Figure]
    rounds: int | None = None
    warm: bool = True
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> Figure:
        return self.figures[0]

    def figure(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)


@dataclass(slots=True)
class Outcome:
    """The turns of a case, by side: as many each, in the order in which they were taken."""

    case: Case
    turns: dict[str, list[Turn]]
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> str:
        return self.case.sides[0].name

    def values(self, side: str, figure: str) -> list[float]:
        return [turn[figure] for turn in self.turns.get(side, []) if figure in turn]

    def ratios(self, side: str, other: str, figure: str) -> list[float]:
        """Of the two in each round."""
        mine, theirs = self.turns.get(side, []), self.turns.get(other, [])
        return [
            a[figure] / b[figure]
            for a, b in zip(mine, theirs, strict=False)
            if figure in a and b.get(figure)
        ]

    @property
    def wrong(self) -> dict[str, int]:
        """Messages that were lost, came twice, out of order or changed, by side."""
        found = {
            name: int(sum(turn.get("wrong", 0) for turn in turns))
            for name, turns in self.turns.items()
        }
        return {name: count for name, count in found.items() if count}


Cases = Iterator[Case]
