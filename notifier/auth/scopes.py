"""What an identity may be granted."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One kind of thing that can be allowed.

    The first four are about channels, so namespaces have rules for them; ``METRICS`` and ``ADMIN``
    are about the node as a whole.
    """

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    HISTORY = "history"
    PRESENCE = "presence"
    METRICS = "metrics"
    ADMIN = "admin"

    @property
    def deed(self) -> str:
        """What one who has it may do, as it is said in a sentence."""
        return _DEEDS[self][0]

    def deed_on(self, channel: str) -> str:
        """What one may do on a channel, or on all of a pattern; as :attr:`deed` for the others."""
        return _DEEDS[self][1].format(repr(channel))


OF_CHANNELS = frozenset({Scope.PUBLISH, Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE})

# In general, and on a channel.
_DEEDS = {
    Scope.PUBLISH: ("publish", "publish to {}"),
    Scope.SUBSCRIBE: ("listen", "listen to {}"),
    Scope.HISTORY: ("read history", "read the history of {}"),
    Scope.PRESENCE: ("see who is there", "see who is on {}"),
    Scope.METRICS: ("read the metrics",) * 2,
    Scope.ADMIN: ("administer the server",) * 2,
}
