"""The contract every fleet keeps: how the nodes of one service know of each other.

A broker carries publications; what else nodes need of one another goes by the fleet, which lives
where the broker lives. The promises:

1. Of however many changes to who follows a channel on a node, the others are told in one message
   a moment: what is true when it is written, not each step there. A node's cost is per channel.
2. A crew that has asked to :meth:`~Fleet.gather` a channel is told :meth:`~Crew.gathered` first,
   then every later :meth:`~Crew.attended` that it does not know of. What may have been missed is
   gathered anew.
3. A node that ends without a word is dead to the others within :data:`DEAD_SECONDS`: what it
   attended is forgotten, and they are told :meth:`~Crew.departed`. One that was only slow comes
   back by itself, with all it attends.
4. A far end that has forgotten everything is filled again, also if nobody notices.
5. An answer is whole, or it is refused: with :class:`~notifier.errors.BrokerUnavailable`, or
   :class:`~notifier.errors.NodesSilent` where a node did not answer.
6. What is put on the :attr:`~Fleet.shelf` of one node is taken from that of any, once.
7. A token that was revoked on one node, or all of a user's, is, within seconds, on all of them,
   also on those that join later. What a far end has forgotten of it, the nodes that know write
   there again.
8. What one node takes from a bucket (:meth:`~Fleet.spend`) the others are told to owe
   (:meth:`~Crew.owe`): within a moment and once, or not at all. Nobody waits for that. However
   many times it takes, a node sends a few messages of bounded size a second.

``tests/brokers/fleet_contract.py`` holds every fleet to this.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from notifier.attendance import Attendance
from notifier.auth.revocations import AnyRevocation
from notifier.auth.shelf import Shelf
from notifier.channels import Pattern
from notifier.connectionstate import Holder
from notifier.nodestate import NodeState

# After this long without a sign of life a node counts as dead.
DEAD_SECONDS = 10.0
# What the others have to carry out an order and say so.
ORDER_SECONDS = 2.0
# Of the name of a bucket.
MAX_BUCKET_NAME = 32


def new_node_id() -> str:
    """8 letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(6)


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close a connection, for good."""

    connection: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End a connection's subscription to the channel or pattern ``name``."""

    connection: str
    name: str


# For the one node whose connection it is.
Order = Disconnect | Unsubscribe


@dataclass(frozen=True, slots=True)
class DisconnectAll:
    """Close all connections of one holder, for good; answered with how many."""

    holder: Holder


@dataclass(frozen=True, slots=True)
class ListConnections:
    """Answered with the first of a node's connections after an id, in the order of their ids, each
    a :class:`~notifier.connectionstate.ConnectionState` as a dictionary.

    :param holder: of whom; ``None``: of all.
    """

    holder: Holder | None
    after: str
    limit: int


# For every node. A revocation's connections are closed; answered with how many.
Broadcast = DisconnectAll | AnyRevocation | ListConnections


class Crew(Protocol):
    """This node, as its fleet needs it. Called on the loop's thread; must not block."""

    def facts(self) -> NodeState:
        """How this node is, for the others to know."""

    def attendance(self, channel: str) -> Attendance | None:
        """Who follows the channel here; ``None``: nobody."""

    def gathered(self, channel: str, others: Mapping[str, Attendance]) -> None:
        """Who follows it on the other nodes, by their ids; in place of all that was told before."""

    def attended(self, channel: str, node: str, attendance: Attendance | None) -> None:
        """Who follows it on this one of the others now."""

    def departed(self, node: str) -> None:
        """It is gone, and with it all that it attended."""

    def carry_out(self, order: Order) -> bool:
        """Do it, if it is for this node to do; whether it was."""

    async def answer(self, broadcast: Broadcast) -> Any:
        """Do it, or find it out; what came of it, as JSON has it."""

    def revocations(self) -> Iterable[AnyRevocation]:
        """All that are in force here now, of which there may be very many: others may have a turn
        between any two."""

    def revoked(self, revocations: Sequence[AnyRevocation]) -> None:
        """These are in force."""

    def owe(self, tokens: Mapping[str, int]) -> None:
        """So many were taken on another node, by the names of their buckets."""


class Fleet(Protocol):
    """What a node needs of the others."""

    @property
    def id(self) -> str:
        """This node's, new for each process."""

    @property
    def shelf(self) -> Shelf:
        """One for all nodes."""

    def enlist(self, crew: Crew) -> None:
        """This node's; before anything else."""

    async def open(self) -> None:
        """Join the others. Returns also when the far end is away."""

    async def close(self) -> None:
        """Take leave of them."""

    def attend(self, channel: str) -> None:
        """Who follows the channel here has changed: :meth:`Crew.attendance` says to what."""

    def gather(self, channel: str) -> None:
        """Tell the crew who follows the channel elsewhere, soon and for as long as it has an
        attendance itself. It must have one; the channel's namespace must show presence.
        """

    def spend(self, bucket: str, tokens: int) -> None:
        """So many were taken here: the others are to know.

        :param bucket: its name on all nodes; of at most :data:`MAX_BUCKET_NAME` letters and digits.
        """

    async def attendances(self, channels: Sequence[str]) -> Sequence[Mapping[str, Attendance]]:
        """For each channel, who follows it on the other nodes, by their ids.

        :raises BrokerUnavailable:
        """

    async def followed(self, pattern: Pattern, after: str, limit: int) -> Sequence[str]:
        """Channels that somebody on another node follows: those that match, in the order of their
        names' code points, after a name ("": all).

        :raises BrokerUnavailable:
        """

    async def nodes(self) -> Sequence[NodeState]:
        """All that live, this one among them.

        :raises BrokerUnavailable:
        """

    async def order(self, order: Order) -> bool:
        """Have it carried out by the one node among the others whose it is; whether there is one.

        :raises BrokerUnavailable: it could not be given.
        :raises NodesSilent: none has done it, and some did not answer within
            :data:`ORDER_SECONDS`.
        """

    async def broadcast(self, broadcast: Broadcast) -> Sequence[Any]:
        """What each of the others says to it, in any order.

        :raises BrokerUnavailable: it could not be given.
        :raises NodesSilent: some did not answer within :data:`ORDER_SECONDS`; the others have
            done it.
        """

    async def revoke(self, revocation: AnyRevocation) -> Sequence[Any]:
        """Keep it for all nodes there are and will be, and :meth:`broadcast` it.

        :raises BrokerUnavailable: it may not be kept yet; it will be, if it is in force here.
        :raises NodesSilent: it is kept, and some have yet to hear of it.
        """
