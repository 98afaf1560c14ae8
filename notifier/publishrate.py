"""How fast each producer publishes, to all nodes together where they can tell each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from notifier.auth.identity import Identity
from notifier.errors import PublishingTooFast
from notifier.limits import Buckets, Rate, bucket_of, milliseconds

# How many seconds' worth a producer may send at once.
BURST_SECONDS = 2
# What so many nodes let through in the same moment is owed to the last token. Of more, some is let
# off: a wait has an end, whatever is told.
NODES_IN_FULL = 16


class PublishRate:
    """A bucket for each API key, each ``sub`` of tokens, and of others each address.

    Each node takes from its own at once, asking nobody, and the others owe what they are told of in
    theirs. So what a producer sends to all of them is ``per_second`` in the long run, wherever it
    sends it; and more than that only until they know, by a burst for each node at most. A node that
    hears nothing limits by itself.

    What is told is what was let through, never what a client says. It names buckets, not producers
    (:func:`~notifier.limits.bucket_of`).

    :param per_second: publications: a notification counts once for each of its channels.
    :param clock: seconds, monotonic.
    :param at_once: the most that is asked for at once: an array's worth, each for as many channels
        as may be.
    :param on_taken: told of each bucket, and how much was taken from it.
    :ivar burst: how many may come at once.
    """

    def __init__(
        self,
        per_second: int,
        clock: Callable[[], float],
        *,
        at_once: int,
        on_taken: Callable[[str, int], None],
    ) -> None:
        self.burst = BURST_SECONDS * per_second
        self._per_second = per_second
        self._clock = clock
        self._on_taken = on_taken
        self._buckets = Buckets(Rate(per_second, self.burst))
        self._longest = NODES_IN_FULL * max(self.burst, at_once) / per_second

    def take(self, by: Identity, address: str, count: int = 1) -> None:
        """Let so many through, all of them or none.

        More than may come at once are let through when nothing was for as long as it takes; who
        sent them then waits so much longer.

        :raises PublishingTooFast:
        """
        bucket = bucket_of(by.producer, address)
        wait = self._buckets.take(bucket, self._clock(), count)
        if wait:
            raise PublishingTooFast(
                f"You may send {self._per_second} notifications a second (setting "
                "max_publishes_per_second).",
                limit=self._per_second,
                retry_after_ms=milliseconds(wait),
            )
        self._on_taken(bucket, count)

    def owe(self, by: Identity, address: str, count: int) -> float:
        """Let so many through in their turn; the seconds until it comes."""
        bucket = bucket_of(by.producer, address)
        self._on_taken(bucket, count)
        return self._buckets.owe(bucket, self._clock(), count)

    def spent_elsewhere(self, tokens: Mapping[str, int]) -> None:
        """Another node has let so many through, by bucket."""
        now = self._clock()
        for bucket, count in tokens.items():
            self._buckets.owe(bucket, now, count, longest=self._longest)

    def sweep(self) -> None:
        self._buckets.sweep(self._clock())
