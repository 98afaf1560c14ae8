"""One subscriber's cursor on one channel."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from notifier.notification import Position
from notifier.sink import Sink
from notifier.wire.prepared import Prepared


class Standing(Enum):
    """Where a subscription stands.

    ::

        JOINING ──begin──▶ BEHIND ◀──fell behind── LIVE
                             │  ▲ ╲───caught up────▶┘
                  off the ring│  │page at hand
                             ▼  │
                            LOADING          any ──leave──▶ GONE
    """

    JOINING = "joining"  # attached, its start not yet known
    BEHIND = "behind"  # catching up from the ring, or from a page of history
    LOADING = "loading"  # waiting for a page of history
    LIVE = "live"  # where the feed is; has no cursor of its own
    GONE = "gone"


class Subscription:
    """A cursor on the feed of a channel, and the sink it delivers to.

    :ivar cursor: sequence of the next item to deliver; ``None`` when only ``after`` tells. Stale
        while LIVE.
    :ivar after: position of the last item delivered, for when the cursor falls off the ring.
    :ivar page: items of history to deliver before the ring.
    :ivar pattern: what brought it, if it was not asked for by name.
    :ivar presence: asked for, by name, with who joins and leaves.
    :ivar slot: its place in the feed's lane while LIVE.
    """

    __slots__ = ("after", "channel", "cursor", "page", "pattern", "presence", "send", "sink",
                 "slot", "standing")  # fmt: skip

    def __init__(self, channel: str, sink: Sink, pattern: str | None = None) -> None:
        self.channel = channel
        self.pattern = pattern
        self.presence = False
        self.sink = sink
        self.send: Callable[[bytes], int] = sink.send
        self.standing = Standing.JOINING
        self.cursor: int | None = None
        self.after: Position | None = None
        self.page: list[Prepared] = []
        self.slot = -1
