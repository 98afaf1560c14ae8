"""The live subscriptions of one feed in one wire format, and the walk along them.

A lane is a row of slots. A pass walks it from the first to the last that was there when the pass
began, a stretch at a time; who has been served is told by the slot alone. Leaving empties the
slot, joining takes a new one at the end, so neither disturbs a walk under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notifier.subscription import Subscription
from notifier.wire.prepared import Format

# Sends between two looks at the clock.
STRIDE = 16


class Lane:
    """Slots of live subscriptions; ``next`` ≤ slot < ``stop`` are still to be served."""

    __slots__ = ("_data", "_frames", "_slots", "count", "format", "next", "stop")

    def __init__(self, format: Format) -> None:
        self.format = format
        self.count = 0
        self.next = 0
        self.stop = 0
        self._slots: list[Subscription | None] = []
        self._frames: list[bytes] = []
        self._data = b""

    def join(self, subscription: Subscription) -> None:
        """Take the last slot. A pass under way does not serve it."""
        if len(self._slots) > 2 * self.count + 64 and self.next == self.stop:
            self._close_ranks()
        subscription.slot = len(self._slots)
        self._slots.append(subscription)
        self.count += 1

    def leave(self, subscription: Subscription) -> bool:
        """Empty the slot. True if the pass under way would still have served it."""
        slot = subscription.slot
        self._slots[slot] = None
        self.count -= 1
        return self.next <= slot < self.stop

    def members(self) -> Sequence[Subscription]:
        return [s for s in self._slots if s is not None]

    def begin(self, frames: list[bytes]) -> None:
        """Begin a pass: everyone who is here now gets these frames."""
        self._frames = frames
        self._data = frames[0] if len(frames) == 1 else b"".join(frames)
        self.next = 0
        self.stop = len(self._slots)

    def walk(
        self,
        deadline: float,
        clock: Callable[[], float],
        on_short: Callable[[Subscription, list[bytes], int], None],
        on_error: Callable[[Subscription], None],
    ) -> bool:
        """Serve slots until the deadline; True when all have been.

        This is the inner loop of the whole service: a bound ``send`` a socket and a comparison.
        """
        slots, data, frames, stop = self._slots, self._data, self._frames, self.stop
        size = len(data)
        while self.next < stop:
            end = min(self.next + STRIDE, stop)
            for slot in range(self.next, end):
                subscription = slots[slot]
                if subscription is None:
                    continue
                try:
                    sent = subscription.send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self.next = slot + 1
                    on_error(subscription)
                    continue
                if sent != size:
                    self.next = slot + 1
                    on_short(subscription, frames, sent)
            self.next = end
            if end < stop and clock() >= deadline:
                return False
        self._frames, self._data = [], b""
        self.next = self.stop = 0
        return True

    def _close_ranks(self) -> None:
        self._slots = list(self.members())
        for slot, subscription in enumerate(self._slots):
            if subscription is not None:
                subscription.slot = slot
