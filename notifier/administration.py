"""What those who run the service may do, whichever node they ask."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TypeVar

from notifier.auth.revocations import AnyRevocation, Revocation, UserRevocation
from notifier.brokers.fleet import (
    Disconnect,
    DisconnectAll,
    Fleet,
    ListConnections,
    Order,
    Unsubscribe,
)
from notifier.connectionstate import ConnectionPage, ConnectionState, Holder
from notifier.errors import NoSuchConnection, NoSuchSubscription
from notifier.history import checked_limit
from notifier.residents import Residents

# Revocations looked at before everybody else has a turn: a few milliseconds.
TURN = 2000
R = TypeVar("R", bound=AnyRevocation)


class Administration:
    """Sees to the connections of all nodes."""

    def __init__(self, fleet: Fleet, residents: Residents) -> None:
        self._fleet = fleet
        self._residents = residents

    async def connections(
        self, holder: Holder | None, after: str, limit: int | None
    ) -> ConnectionPage:
        """Those that come after an id.

        :param holder: of whom; ``None``: of all.
        :raises BadParameter:
        :raises NodesSilent: some are missing.
        :raises BrokerUnavailable:
        """
        count = checked_limit(limit)
        # One more than the page holds, to know whether there is a next.
        wanted = ListConnections(holder, after, count + 1)
        elsewhere = await self._fleet.broadcast(wanted)
        found = await self._residents.page(wanted)
        for told in elsewhere:
            found += [ConnectionState.told(state) for state in told]
        first = heapq.nsmallest(count + 1, found, key=lambda state: state.id)
        page = first[:count]
        return ConnectionPage(page, page[-1].id if len(first) > count else None)

    async def disconnect(self, connection: str) -> None:
        """Close the connection for good, on whichever node it is.

        :raises NoSuchConnection:
        :raises NodesSilent:
        :raises BrokerUnavailable:
        """
        if not await self._have_done(Disconnect(connection)):
            raise NoSuchConnection(
                f"There is no connection {connection!r} on any node.", connection=connection
            )

    async def disconnect_all(self, holder: Holder) -> int:
        """Close all of one user or key for good; how many those were.

        :raises NodesSilent: those of the others are closed.
        :raises BrokerUnavailable: those of this node are.
        """
        broadcast = DisconnectAll(holder)
        ended: int = await self._residents.answer(broadcast)
        elsewhere: Sequence[int] = await self._fleet.broadcast(broadcast)
        return ended + sum(elsewhere)

    async def end_subscription(self, connection: str, name: str) -> None:
        """End the connection's subscription to the channel or pattern, on whichever node it is;
        its client is told.

        :raises NoSuchSubscription: also where there is no such connection.
        :raises NodesSilent:
        :raises BrokerUnavailable:
        """
        if not await self._have_done(Unsubscribe(connection, name)):
            raise NoSuchSubscription(
                f"No connection {connection!r} has asked for {name!r}.",
                connection=connection,
                channel=name,
            )

    async def revoke(self, revocation: AnyRevocation) -> int:
        """Let the token, or all of a user's, be good no longer, on any node; how many connections
        that ended.

        :raises TooManyRevocations: it is in force nowhere.
        :raises NodesSilent: it is kept for those who did not answer.
        :raises BrokerUnavailable: it is in force on this node, and perhaps on no other.
        """
        self._residents.check_room(revocation)
        ended = self._residents.revoke([revocation])
        elsewhere: Sequence[int] = await self._fleet.revoke(revocation)
        return ended + sum(elsewhere)

    async def revocations(
        self, after: str, limit: int | None
    ) -> tuple[list[Revocation], str | None]:
        """Those in force whose token ids come after one, in order; and the id that the page after
        this one comes after, ``None`` when it is the last.

        :raises BadParameter:
        """
        return await _page(self._residents.revocations(), attrgetter("token_id"), after, limit)

    async def user_revocations(
        self, after: str, limit: int | None
    ) -> tuple[list[UserRevocation], str | None]:
        """As :meth:`revocations`, of all of users' tokens, in the order of the users.

        :raises BadParameter:
        """
        return await _page(self._residents.user_revocations(), attrgetter("user"), after, limit)

    async def _have_done(self, order: Order) -> bool:
        return self._residents.carry_out(order) or await self._fleet.order(order)


async def _page(
    all: Iterator[R], name: Callable[[R], str], after: str, limit: int | None
) -> tuple[list[R], str | None]:
    """Those whose names come first after one, and the name that the page after this one comes
    after."""
    count = checked_limit(limit)
    first: list[R] = []
    while turn := list(islice(all, TURN)):
        # One more than the page holds, to know whether there is a next.
        first += (each for each in turn if name(each) > after)
        first = heapq.nsmallest(count + 1, first, key=name)
        await asyncio.sleep(0)
    page = first[:count]
    return page, name(page[-1]) if len(first) > count else None
