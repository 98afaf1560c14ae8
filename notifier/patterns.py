"""Who follows which pattern on this node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from notifier.channels import Pattern
from notifier.listener import Listener
from notifier.sink import Sink
from notifier.wire.resume import Starts


@dataclass(slots=True, eq=False)
class PatternSubscription:
    """One connection's wish for all channels of a pattern, present and future.

    :param start_of: where those begin that are there already.
    :param full: one was too many; it has been told, and no newborn joins any more.
    :param followed: the broker follows the pattern for it.
    """

    pattern: Pattern
    sink: Sink
    start_of: Starts
    listener: Listener
    full: bool = False
    followed: bool = False


class Patterns:
    """The pattern subscriptions of all connections."""

    def __init__(self) -> None:
        # Of all connections together.
        self.count = 0
        self._of: dict[Sink, dict[str, PatternSubscription]] = {}
        # By pattern, so that one that thousands follow is compared once.
        self._followers: dict[Pattern, dict[PatternSubscription, None]] = {}

    def of(self, sink: Sink) -> Mapping[str, PatternSubscription]:
        """What the sink follows, by pattern."""
        return self._of.get(sink, {})

    def add(self, subscription: PatternSubscription) -> None:
        self.count += 1
        self._of.setdefault(subscription.sink, {})[subscription.pattern.text] = subscription
        self._followers.setdefault(subscription.pattern, {})[subscription] = None

    def remove(self, subscription: PatternSubscription) -> None:
        own = self._of[subscription.sink]
        self.count -= 1
        del own[subscription.pattern.text]
        if not own:
            del self._of[subscription.sink]
        followers = self._followers[subscription.pattern]
        del followers[subscription]
        if not followers:
            del self._followers[subscription.pattern]

    def wanting(self, sink: Sink, channel: str) -> PatternSubscription | None:
        """One of the sink's that matches the channel."""
        return next((s for s in self.of(sink).values() if s.pattern.matches(channel)), None)

    def matching(self, channel: str) -> Iterable[PatternSubscription]:
        """One for each sink that wants the channel."""
        found: dict[Sink, PatternSubscription] = {}
        for pattern, followers in self._followers.items():
            if pattern.matches(channel):
                for subscription in followers:
                    found.setdefault(subscription.sink, subscription)
        return found.values()
