"""What went over the connections."""

from __future__ import annotations

from notifier.cli.load.stream import Stream


class Tally:
    """Kept by the connections, read by the load.

    :ivar waiting: sockets that were told of no subscription yet.
    :ivar stream: what every socket gets, since :meth:`begin`; so are those below.
    :ivar delivered: messages, over all sockets.
    :ivar last: when the last one came, or the last answer (``time.monotonic()``).
    :ivar latencies: seconds from being published to being read, of each.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """From here on it is counted anew."""
        self.stream = Stream()
        self.published = 0
        self.delivered = 0
        self.last = now
        self.latencies: list[float] = []
