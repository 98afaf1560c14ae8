"""How often somebody may do something: token buckets."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_network

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


class Pace:
    """Token buckets that are kept by whoever is limited, each as a single number.

    It is the time when the bucket will be full again (the generic cell rate algorithm, ITU-T
    I.371); any time that has passed stands for a full one.
    """

    def __init__(self, rate: Rate) -> None:
        self._interval = 1 / rate.per_second
        # How long it takes to fill an empty bucket.
        self._depth = rate.burst / rate.per_second

    def take(self, full_at: float, now: float, count: int = 1) -> tuple[float, float]:
        """Take that many tokens, if they are there.

        :param full_at: the bucket.
        :param now: seconds, monotonic.
        :param count: more than the bucket holds are given when it is full; it is in debt then.
        :return: 0 if they were taken, else the seconds until they can be; and the bucket now.
        """
        full_at = max(full_at, now)
        wanted = full_at + count * self._interval
        wait = min(wanted - now - self._depth, full_at - now)
        # A bucket that is full to a rounding error is full.
        return (wait, full_at) if wait > self._interval * 1e-6 else (0.0, wanted)

    def owe(self, full_at: float, now: float, count: int) -> tuple[float, float]:
        """Take that many tokens whether they are there or not.

        :return: the seconds until all of them would have been there; and the bucket now.
        """
        wanted = max(full_at, now) + count * self._interval
        return max(0.0, wanted - now - self._depth), wanted


class Buckets:
    """One token bucket for each who asks, by any name. A full one need not be kept at all.

    :param max_buckets: of more, those that were used longest ago are forgotten: they are full
        again.
    """

    def __init__(self, rate: Rate, *, max_buckets: int = MAX_BUCKETS) -> None:
        self._pace = Pace(rate)
        self._max_buckets = max_buckets
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float, count: int = 1) -> float:
        """Take that many tokens of the name's bucket, if they are there (:meth:`Pace.take`).

        :return: 0 if they were taken, else the seconds until they can be.
        """
        wait, full_at = self._pace.take(self._full_at.get(name, now), now, count)
        if not wait:
            self._keep(name, full_at)
        return wait

    def owe(self, name: str, now: float, count: int, *, longest: float = math.inf) -> float:
        """Take that many tokens whether they are there or not (:meth:`Pace.owe`).

        :param longest: seconds; what would make the bucket take longer to be full is not taken.
        :return: the seconds until all of them would have been there.
        """
        before = self._full_at.get(name, now)
        wait, full_at = self._pace.owe(before, now, count)
        self._keep(name, min(full_at, max(before, now + longest)))
        return wait

    def _keep(self, name: str, full_at: float) -> None:
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._max_buckets:
            self._full_at.popitem(last=False)

    def sweep(self, now: float) -> None:
        """Forget some of the buckets that are full; a bounded piece of the work each call."""
        for _ in range(min(len(self._full_at), 1000)):
            name, full_at = next(iter(self._full_at.items()))
            if full_at > now:
                self._full_at.move_to_end(name)
            else:
                del self._full_at[name]


@lru_cache(4096)
def network_of(address: str) -> str:
    """Whom an address is counted with: itself, or the /64 of an IPv6 one.

    That is what one customer, often one machine, is given (RFC 6177): it has 2⁶⁴ addresses.
    """
    if ":" not in address:
        return address
    try:
        return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address


def bucket_of(producer: str, address: str) -> str:
    """Whose bucket it is, on every node: 24 hexadecimal digits.

    :param producer: of whom it is, with a kind and a colon before its name; "": of the address.

    A digest, because a ``sub`` may be long and hold anything, and because nobody who listens on
    Redis needs to read who publishes from where.
    """
    return _digest(producer or f"address:{network_of(address)}")


@lru_cache(4096)
def _digest(name: str) -> str:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=12).hexdigest()


def milliseconds(wait: float) -> int:
    """A wait in seconds as ``retry_after_ms`` tells it: never too short."""
    return math.ceil(wait * 1000)
