"""What a node counts while it runs: plain numbers, so that counting costs next to nothing.

Nothing here is done per delivery: a pass is counted as a whole when it begins, and who turns out
not to have got all of it is taken off again. ``metrics.py`` tells the numbers to who asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from notifier.errors import (
    BrokerUnavailable,
    InternalError,
    NotifierError,
    TooManyChannels,
    TooManyConnections,
)
from notifier.notification import Gap

# How clients are connected; what they can be told is counted for each.
TRANSPORTS = ("websocket", "raw", "echo", "events", "stream")
# How producers publish.
SOURCES = ("http", "ndjson", "websocket", "raw")
# Why a subscription was told of a gap: what it asked for was gone already, or went before it was
# sent; or the channel's log was lost, which has given it a new epoch.
GAP_CAUSES = ("start", "slow", "log_lost")
# Who history was read for: a client that asked for it, or subscriptions that catch up.
READERS = ("client", "subscription")

# Why connections end, besides the close codes of the server's own that may occur.
REASONS = (
    *("client", "lost", "silent", "stalled", "unread", "backlog", "stopped", "fault"),
    "1011",
)
# Refusals that are not the client's doing: of publications, and of all.
UNSTORED = (BrokerUnavailable.code, TooManyChannels.code)
OURS = (InternalError.code, TooManyConnections.code, *UNSTORED)

PUBLISH_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RECEIVERS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0)


class Histogram:
    """How often values up to each bound were seen, and their sum.

    :ivar counts: for each bound those up to it and over the one before; then those over all.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Traffic:
    """The connections of one transport, and what went out to them.

    :ivar open: connections there are now.
    :ivar closed: those that ended, by why; see :attr:`~notifier.sink.Sink.ended`.
    :ivar publications: deliveries of one publication to one connection.
    :ivar bytes: of these, and of the gaps among them, as they are on the wire.
    :ivar gaps: that were told, by cause.
    """

    __slots__ = ("bytes", "closed", "gaps", "open", "opened", "publications", "transport")

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.open = 0
        self.opened = 0
        # From the start at 0, as are the others: who computes rates misses a series' first value.
        self.closed = defaultdict(int, dict.fromkeys(REASONS, 0))
        self.publications = 0
        self.bytes = 0
        self.gaps = dict.fromkeys(GAP_CAUSES, 0)

    def sent(self, publications: int, size: int, gaps: Sequence[Gap], receivers: int = 1) -> None:
        """So much went to so many; a negative number takes it back."""
        self.publications += publications * receivers
        self.bytes += size * receivers
        for gap in gaps:
            self.told(gap, receivers)

    def told(self, gap: Gap, receivers: int = 1) -> None:
        """Of a gap, other than at the start of a subscription."""
        lost = gap.after is None or gap.after.epoch != gap.before.epoch
        self.gaps["log_lost" if lost else "slow"] += receivers


class Intake:
    """What producers sent in one way.

    :ivar stored: publications; a notification for three channels is three.
    :ivar repeated: what had been stored before, under the same idempotency key.
    :ivar refused: by the refusal's code.
    :ivar seconds: from when a notification's turn came until the broker had answered for it.
    """

    __slots__ = ("refused", "repeated", "seconds", "stored")

    def __init__(self) -> None:
        self.stored = 0
        self.repeated = 0
        self.refused = defaultdict(int, dict.fromkeys(UNSTORED, 0))
        self.seconds = Histogram(PUBLISH_SECONDS)

    def refuse(self, refusal: NotifierError) -> None:
        self.refused[refusal.code] += 1


class Counts:
    """Everything one node counts.

    :ivar subscriptions: of a connection to a channel; ``live`` are those of them that are not
        catching up.
    :ivar fell_behind: how often a live one had to catch up.
    :ivar receivers: of each pass.
    :ivar errors: refusals told to clients as an answer of their own, by code.
    :ivar loop_lag: seconds by which the event loop was late.
    """

    def __init__(self) -> None:
        self.traffic = {transport: Traffic(transport) for transport in TRANSPORTS}
        self.intakes = {source: Intake() for source in SOURCES}
        self.subscriptions = 0
        self.live = 0
        self.fell_behind = 0
        self.receivers = Histogram(RECEIVERS)
        self.history_reads = dict.fromkeys(READERS, 0)
        self.errors = defaultdict(int, dict.fromkeys(OURS, 0))
        self.loop_lag = Histogram(LAG_SECONDS)
