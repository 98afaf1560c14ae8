"""A median, and how sure it is."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_RESAMPLES = 1000


class Estimate(NamedTuple):
    """A median and the interval that holds it with 95 % (bootstrap, percentiles)."""

    median: float
    low: float
    high: float


def estimate(values: Sequence[float], *, seed: int = 1) -> Estimate | None:
    """Of so many measurements; ``None`` of none."""
    if not values:
        return None
    chance = random.Random(seed)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    low, high = medians[int(0.025 * _RESAMPLES)], medians[int(0.975 * _RESAMPLES) - 1]
    return Estimate(statistics.median(values), low, high)
