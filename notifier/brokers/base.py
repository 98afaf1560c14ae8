"""The contract every broker keeps.

The promises, for channels with history (those without are delivered live, in order, and nothing
else is promised):

1. :meth:`Broker.publish` returns when the publication has its offset, is stored and announced;
   all three happen or none.
2. Offsets of a channel begin at 1 and grow by 1. They and the epoch outlive the history:
   trimming by count, age or bytes changes neither. A new epoch means the log was lost.
3. A receiver is told :meth:`Receiver.begin` first, then every later publication of the channel
   once and in order; what can't be told is told as a gap. Publications of one caller get their
   offsets in the order of its calls, also when it does not wait for one before the next.
4. The same idempotency key with the same fingerprint stores once and answers as the first time;
   with another fingerprint it is refused. Keys are kept for ``idempotency_ttl``.
5. A broker that can't do its work raises :class:`~notifier.errors.BrokerUnavailable`, and says
   why in :attr:`Broker.trouble`.
6. The watcher is asked who wants a channel before the first publication of its epoch is
   delivered; in an ephemeral channel that matches a pattern it follows, before each that has no
   receiver.

``tests/brokers/contract.py`` holds every broker to this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from notifier.channels import Pattern
from notifier.errors import TooManyChannels
from notifier.history import ChannelState, History
from notifier.notification import Draft, Gap, Position, Publication
from notifier.value import value
from notifier.wire.resume import Since

# About what one page of history holds at most.
PAGE_BYTES = 1 << 18


@value
class Idempotency:
    """A producer's key, already scoped to producer and channel, and what tells its body."""

    key: str
    fingerprint: bytes


@value
class Receipt:
    """What became of a draft. ``repeated``: it had been stored before, under the same key."""

    id: str
    position: Position | None
    repeated: bool = False


class CannotOpen(Exception):
    """The broker can't begin, and waiting won't help. Its sentence is for who starts the server."""


def too_many_channels(limit: int) -> TooManyChannels:
    """The refusal of a channel more than the broker may remember."""
    return TooManyChannels(
        f"This server remembers {limit} channels and can't take another now (setting "
        "max_channels).",
        limit=limit,
    )


class Receiver(Protocol):
    """Where a broker delivers one channel: a feed. Called on the loop's thread; must not block."""

    def begin(self, head: Position | None) -> None:
        """What follows comes after ``head``."""

    def publication(self, publication: Publication) -> None: ...

    def gap(self, gap: Gap) -> None: ...

    def cleared(self, head: Position) -> None:
        """History was deleted up to here: it is not to be replayed from anywhere."""


class Watcher(Protocol):
    """Who wants to know of channels that come to life: a node."""

    def born(self, channel: str, head: Position | None) -> Receiver | None:
        """Who is to hear the channel from its first publication; ``None``: nobody more.

        The broker takes the answer as its receiver and tells it ``begin`` at once, before
        anything else, unless it is the receiver already.

        :param head: the place before that publication; ``None``: the channel is ephemeral.
        """


class Broker(Protocol):
    """What a node needs of a broker."""

    @property
    def trouble(self) -> str | None:
        """Why the broker can't be relied on just now, for ``/health/ready``; else ``None``."""

    @property
    def prompt(self) -> bool:
        """Whether :meth:`publish` never waits: it need not be within a task of its own."""

    async def open(self) -> None:
        """Begin. Returns also when the far end is away; then there is ``trouble``.

        :raises CannotOpen: it never will be there as things stand.
        """

    async def close(self) -> None: ...

    def sweep(self) -> None:
        """Housekeeping: called about once a second, does a bounded piece of it."""

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        """Store and announce, atomically.

        :raises IdempotencyConflict: the key was used with another body.
        :raises TooManyChannels: the channel would be one too many.
        :raises BrokerUnavailable: nothing is known to be stored; retry with the same key.
        """

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        """Deliver the channel to the receiver from now on; one receiver a channel.

        Nothing happens when it is the channel's receiver already.
        """

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        """Stop, if this is still the channel's receiver."""

    def watch(self, watcher: Watcher) -> None:
        """From now on, ask it who wants a newborn channel."""

    async def follow(self, pattern: Pattern) -> None:
        """Ask it also of ephemeral channels that match and that nobody here listens to.

        As often as it is called, so often :meth:`unfollow` must be, to end that.

        :raises BrokerUnavailable: then it need not be.
        """

    def unfollow(self, pattern: Pattern) -> None: ...

    async def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None = None,
        newest_first: bool = False,
        key: str | None = None,
    ) -> History:
        """A page of what is after where ``since`` lands and before ``before``.

        At most ``limit`` publications and about :data:`PAGE_BYTES`, one at least where there
        is one; ``more`` tells whether it was cut.

        :param key: only those with this key.
        :raises BadParameter: ``before`` is a position of another epoch.
        """

    async def clear(self, channel: str) -> int:
        """Delete the channel's history; how many publications that were.

        Offsets go on; who needs what is gone has a gap, and the receiver is told.
        """

    async def channel(self, channel: str) -> ChannelState | None:
        """``None``: never published to, forgotten, or ephemeral."""

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> Sequence[ChannelState]:
        """Channels that match, in the order of their names' code points, after a name ("": all).

        :param unborn: also those whose watchers have been asked already, though their first
            publication is yet to be stored.
        """
