"""How fast each producer publishes to this node."""

from __future__ import annotations

from collections.abc import Callable

from notifier.auth.identity import Identity
from notifier.errors import PublishingTooFast
from notifier.limits import Buckets, Rate, milliseconds, network_of

# How many seconds' worth a producer may send at once.
BURST_SECONDS = 2


class PublishRate:
    """A bucket for each API key, each ``sub`` of tokens, and of others each address.

    :param per_second: notifications.
    :param clock: seconds, monotonic.
    :ivar burst: how many may come at once.
    """

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self.burst = BURST_SECONDS * per_second
        self._per_second = per_second
        self._clock = clock
        self._buckets = Buckets(Rate(per_second, self.burst))

    def take(self, by: Identity, address: str, count: int = 1) -> None:
        """Let so many through, all of them or none.

        More than may come at once are let through when nothing was for as long as it takes; who
        sent them then waits so much longer.

        :raises PublishingTooFast:
        """
        wait = self._buckets.take(_name(by, address), self._clock(), count)
        if wait:
            raise PublishingTooFast(
                f"You may send this node {self._per_second} notifications a second (setting "
                "max_publishes_per_second).",
                limit=self._per_second,
                retry_after_ms=milliseconds(wait),
            )

    def owe(self, by: Identity, address: str, count: int) -> float:
        """Let so many through in their turn; the seconds until it comes."""
        return self._buckets.owe(_name(by, address), self._clock(), count)

    def sweep(self) -> None:
        self._buckets.sweep(self._clock())


def _name(by: Identity, address: str) -> str:
    # An address has no kind and colon before it that a key or a token could have.
    return by.producer or f"address:{network_of(address)}"
