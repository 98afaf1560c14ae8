"""How often somebody may do something: token buckets."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Of one limit, so many who have used it lately are remembered.
MAX_BUCKETS = 50_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, and from then on ``per_second``.

    :param per_second: above 0.
    :param burst: at least 1.
    """

    per_second: float
    burst: float


class Buckets:
    """One token bucket for each who asks, by any name.

    What is kept of one is a single time: when its bucket will be full again (the generic cell rate
    algorithm, ITU-T I.371). A full bucket need not be kept at all.

    :param max_buckets: of more, those that were used longest ago are forgotten: they are full
        again.
    """

    def __init__(self, rate: Rate, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._interval = 1 / rate.per_second
        # How long it takes to fill an empty bucket.
        self._depth = rate.burst / rate.per_second
        self._max_buckets = max_buckets
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float, count: int = 1) -> float:
        """Take that many tokens, if they are there.

        :param now: seconds, monotonic.
        :param count: more than the bucket holds are given when it is full; it is in debt then.
        :return: 0 if they were taken, else the seconds until they can be.
        """
        full_at = max(self._full_at.get(name, now), now)
        wanted = full_at + count * self._interval
        wait = min(wanted - now - self._depth, full_at - now)
        # A bucket that is full to a rounding error is full.
        if wait > self._interval * 1e-6:
            return wait
        self._full_at[name] = wanted
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._max_buckets:
            self._full_at.popitem(last=False)
        return 0.0

    def sweep(self, now: float) -> None:
        """Forget some of the buckets that are full; a bounded piece of the work each call."""
        for _ in range(min(len(self._full_at), 1000)):
            name, full_at = next(iter(self._full_at.items()))
            if full_at > now:
                self._full_at.move_to_end(name)
            else:
                del self._full_at[name]
