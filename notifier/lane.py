"""The live subscriptions of one feed, and the walk along them.

A lane is a row of slots. A pass walks it from the first to the last that was there when the pass
began, a stretch at a time; who has been served is told by the slot alone. Leaving empties the
slot, joining takes a new one at the end, so neither disturbs a walk under way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from notifier.counts import Traffic
from notifier.notification import Gap
from notifier.subscription import Subscription
from notifier.wire.prepared import Format, Prepared

# Sends between two looks at the clock.
STRIDE = 16


class Lane(ABC):
    """Slots of live subscriptions; ``next`` ≤ slot < ``stop`` are still to be served."""

    __slots__ = ("_slots", "count", "next", "stop")

    def __init__(self) -> None:
        self.count = 0
        self.next = 0
        self.stop = 0
        self._slots: list[Subscription | None] = []

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
        return self.awaits(subscription)

    def awaits(self, subscription: Subscription) -> bool:
        """Whether the pass under way has still to serve it."""
        return self.next <= subscription.slot < self.stop

    def members(self) -> Sequence[Subscription]:
        return [s for s in self._slots if s is not None]

    def begin(self, items: list[Prepared], gaps: Sequence[Gap] = ()) -> None:
        """Begin a pass: everyone who is here now gets these items.

        :param gaps: those among them.
        """
        self.next = 0
        self.stop = len(self._slots)

    @abstractmethod
    def walk(self, deadline: float, clock: Callable[[], float]) -> bool:
        """Serve slots until the deadline; True when all have been."""

    def _end(self) -> None:
        self.next = self.stop = 0

    def _close_ranks(self) -> None:
        self._slots = list(self.members())
        for slot, subscription in enumerate(self._slots):
            if subscription is not None:
                subscription.slot = slot


class SharedLane(Lane):
    """Everyone in it gets the same bytes.

    :param traffic: where a pass is counted, as a whole; ``on_short`` corrects that for whom it is
        told of.
    :param on_short: told whom the kernel did not take all from, the frames, and the bytes it took.
    :param on_error: told whose connection is gone.
    """

    __slots__ = ("_data", "_format", "_frames", "_gaps", "_on_error", "_on_short", "_traffic")

    def __init__(
        self,
        format: Format,
        *,
        traffic: Traffic,
        on_short: Callable[[Subscription, list[bytes], int], None],
        on_error: Callable[[Subscription], None],
    ) -> None:
        super().__init__()
        self._format = format
        self._traffic = traffic
        self._on_short = on_short
        self._on_error = on_error
        self._frames: list[bytes] = []
        self._data = b""
        self._gaps: Sequence[Gap] = ()

    def leave(self, subscription: Subscription) -> bool:
        unserved = super().leave(subscription)
        if unserved:
            self._count(-1)
        return unserved

    def begin(self, items: list[Prepared], gaps: Sequence[Gap] = ()) -> None:
        super().begin(items, gaps)
        self._gaps = gaps
        frames = self._frames = [item.encoded(self._format) for item in items]
        self._data = frames[0] if len(frames) == 1 else b"".join(frames)
        self._count(self.count)

    def walk(self, deadline: float, clock: Callable[[], float]) -> bool:
        # The inner loop of the whole service: a bound `send` a socket and a comparison.
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
                    self._count(-1)
                    self._on_error(subscription)
                    continue
                if sent != size:
                    self.next = slot + 1
                    self._on_short(subscription, frames, sent)
            self.next = end
            if end < stop and clock() >= deadline:
                return False
        self._end()
        return True

    def _end(self) -> None:
        super()._end()
        self._frames, self._data, self._gaps = [], b"", ()

    def _count(self, receivers: int) -> None:
        """So many get all of the pass; or, after all, do not."""
        publications = len(self._frames) - len(self._gaps)
        self._traffic.sent(publications, len(self._data), self._gaps, receivers)


class TailoredLane(Lane):
    """Everyone in it gets bytes of its own.

    :param on_turn: serve this one.
    """

    __slots__ = ("_on_turn",)

    def __init__(self, on_turn: Callable[[Subscription], None]) -> None:
        super().__init__()
        self._on_turn = on_turn

    def walk(self, deadline: float, clock: Callable[[], float]) -> bool:
        while self.next < self.stop:
            subscription = self._slots[self.next]
            self.next += 1
            if subscription is not None:
                self._on_turn(subscription)
                if self.next < self.stop and clock() >= deadline:
                    return False
        self._end()
        return True
