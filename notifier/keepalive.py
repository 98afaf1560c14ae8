"""One sweep over all connections: each is asked in its turn, who is dead or stuck is let go.

Tornado's own keep-alive is a coroutine a connection; this is two queues for all of them. Every
connection waits equally long, so the queues are in order by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from notifier.sink import Sink

# Connections asked in one sweep: more wait for the next, so that a sweep never holds the loop.
SWEEP_PEERS = 256


class Peer(Protocol):
    """A connection that is kept alive.

    :ivar heard: set when anything arrives from it; cleared here.
    """

    heard: bool
    sink: Sink

    def ask(self) -> None:
        """Ask for a sign of life."""

    def dead(self, reason: str) -> None:
        """It gave none, or reads nothing: tear it down."""


class Keepalive:
    """The sweep's books. Times are seconds of any monotonic clock, handed in."""

    def __init__(
        self, *, ping_interval: float, ping_timeout: float, stalled_seconds: float
    ) -> None:
        self._interval = ping_interval
        self._timeout = ping_timeout
        self._stalled_seconds = stalled_seconds
        # When each is next asked, and by when each that was asked must have answered.
        self._due: dict[Peer, float] = {}
        # With that, the bytes unread then: who takes some of them is alive, though the ping waits
        # behind them.
        self._asked: dict[Peer, tuple[float, int]] = {}
        # Blocked ones: the fewest bytes seen unread, and when that was.
        self._blocked: dict[Peer, tuple[int, float]] = {}

    @property
    def stuck(self) -> int:
        """Connections whose kernel buffer is full just now."""
        return len(self._blocked)

    def stuck_peers(self) -> Iterable[Peer]:
        return self._blocked.keys()

    def add(self, peer: Peer, now: float) -> None:
        self._due[peer] = now + self._interval

    def remove(self, peer: Peer) -> None:
        self._due.pop(peer, None)
        self._asked.pop(peer, None)
        self._blocked.pop(peer, None)

    def blocked(self, peer: Peer, now: float) -> None:
        """Its kernel buffer is full: watch that it drains."""
        self._blocked[peer] = (peer.sink.unread(), now)

    def drained(self, peer: Peer) -> None:
        self._blocked.pop(peer, None)

    def sweep(self, now: float) -> bool:
        """Do what is due; True when some of it had to be left for the next sweep."""
        self._abort_stalled(now)
        # Both, whether or not the first left something.
        late = self._judge_asked(now)
        return self._ask_due(now) or late

    def _judge_asked(self, now: float) -> bool:
        for _ in range(SWEEP_PEERS):
            peer = next(iter(self._asked), None)
            if peer is None or self._asked[peer][0] > now:
                return False
            _, unread_then = self._asked.pop(peer)
            unread = peer.sink.unread()
            if 0 < unread < unread_then and not peer.heard:
                self._asked[peer] = (now + self._timeout, unread)
                continue
            # A blocked one may not have seen the ping; it is judged by whether it drains.
            if not peer.heard and not peer.sink.blocked:
                self.remove(peer)
                peer.dead("silent")
        return True

    def _ask_due(self, now: float) -> bool:
        for _ in range(SWEEP_PEERS):
            peer = next(iter(self._due), None)
            if peer is None or self._due[peer] > now:
                return False
            del self._due[peer]
            self._due[peer] = now + self._interval
            if peer.sink.blocked or (peer in self._asked and not peer.heard):
                continue  # it has enough to answer for
            self._asked.pop(peer, None)
            peer.heard = False
            peer.ask()
            self._asked[peer] = (now + self._timeout, peer.sink.unread())
        return True

    def _abort_stalled(self, now: float) -> None:
        for peer, (fewest, since) in list(self._blocked.items()):
            unread = peer.sink.unread()
            if unread < fewest:
                self._blocked[peer] = (unread, now)
            elif now - since >= self._stalled_seconds:
                self.remove(peer)
                peer.dead("stalled")
