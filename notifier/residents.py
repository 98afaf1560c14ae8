"""The connections of this node, for those who run the service."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from notifier.auth.authenticator import Authenticator
from notifier.auth.identity import Identity
from notifier.auth.revocations import AnyRevocation, Revocation, UserRevocation
from notifier.brokers.fleet import (
    Broadcast,
    Disconnect,
    DisconnectAll,
    ListConnections,
    Order,
    Unsubscribe,
)
from notifier.connections import Connection, Connections, end
from notifier.connectionstate import ConnectionState, Holder
from notifier.errands import Errands
from notifier.errors import (
    ConnectionEnded,
    NotifierError,
    NotSubscribed,
    SubscriptionEnded,
    without_frames,
)
from notifier.subscriptions import Subscriptions

# Connections looked at, or ended, before everybody else has a turn.
TURN = 250
ENDED = "Who runs this server has ended the connection."


class Residents:
    """Tells who they are, and ends them.

    Who is on the way in when a key or token is revoked is not among them: it is looked at again
    when it is, unless nothing was awaited since it was last.

    :param node: this node's id.
    :param now: seconds since 1970.
    """

    def __init__(
        self,
        node: str,
        connections: Connections,
        subscriptions: Subscriptions,
        authenticator: Authenticator,
        *,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._connections = connections
        self._subscriptions = subscriptions
        self._authenticator = authenticator
        self._now = now
        self._errands = Errands()

    async def close(self) -> None:
        """End nobody any more; connections must be gone."""
        await self._errands.close()

    def carry_out(self, order: Order) -> bool:
        """Do it, if the connection is here; whether it was."""
        connection = self._connections.find(order.connection)
        if connection is None:
            return False
        match order:
            case Disconnect():
                connection.end(ConnectionEnded(ENDED))
            case Unsubscribe(name=name):
                try:
                    self._subscriptions.leave(connection.sink, name)
                except NotSubscribed:
                    return False
                reason = "Who runs this server has ended the subscription."
                connection.deprive(name, SubscriptionEnded(reason))
        return True

    async def answer(self, broadcast: Broadcast) -> Any:
        """What :class:`~notifier.brokers.fleet.Broadcast` says of each."""
        match broadcast:
            case DisconnectAll(holder):
                return await self._end_all(holder)
            case Revocation() | UserRevocation():
                return self.revoke([broadcast])
            case ListConnections():
                return [_as_json(state) for state in await self.page(broadcast)]

    async def page(self, wanted: ListConnections) -> list[ConnectionState]:
        """The first that are wanted, in the order of their ids."""
        found: list[str] = []
        for n, connection in enumerate(list(self._connections.values()), start=1):
            if n % TURN == 0:
                await asyncio.sleep(0)
            if connection.id > wanted.after and _is_of(connection, wanted.holder):
                found.append(connection.id)
        first = heapq.nsmallest(wanted.limit, found)
        states = []
        for n, id in enumerate(first, start=1):
            if n % TURN == 0:
                await asyncio.sleep(0)
            still_here = self._connections.find(id)
            if still_here is not None:
                states.append(self._state(still_here))
        return states

    def revocations(self) -> Iterator[Revocation]:
        """Of tokens: all that are in force."""
        return self._authenticator.revocations.in_force(self._now())

    def user_revocations(self) -> Iterator[UserRevocation]:
        """Of all of users' tokens: all that are in force."""
        return self._authenticator.revocations.users_in_force(self._now())

    def check_room(self, revocation: AnyRevocation) -> None:
        """See that one more can be in force.

        :raises TooManyRevocations:
        """
        self._authenticator.revocations.check_room(revocation, self._now())

    def revoke(self, revocations: Iterable[AnyRevocation]) -> int:
        """Let these tokens be good no longer; how many connections came with them. Of very many,
        some end in the turns of the event loop that follow."""
        tokens, users = set(), set()
        for each in revocations:
            # Of what is known already nobody is left, and it is told again with each that is not.
            if self._authenticator.revocations.add(each, self._now()):
                match each:
                    case Revocation(token_id):
                        tokens.add(token_id)
                    case UserRevocation(user):
                        users.add(user)
        return self._end_tokens(tokens, users) if tokens or users else 0

    def recheck(self, kind: str) -> int:
        """API keys, or the keys of tokens, were replaced: end the connections of those that count
        no more, as :meth:`revoke` does; how many."""
        return self._end_revoked(kind)

    def _end_tokens(self, ids: Container[str | None], users: Container[str]) -> int:
        return self._end_revoked("token", lambda of: of.credential_id in ids or of.name in users)

    def _end_revoked(
        self, kind: str, concerns: Callable[[Identity], bool] = lambda identity: True
    ) -> int:
        refused = [
            connection
            for connection in _open(self._connections.values())
            if connection.identity.kind == kind
            and concerns(connection.identity)
            and self._refusal(connection.identity) is not None
        ]
        self._end_refused(refused[:TURN])
        if rest := refused[TURN:]:
            self._errands.run(self._end_in_turns(rest))
        return len(refused)

    async def _end_in_turns(self, refused: Sequence[Connection]) -> None:
        for start in range(0, len(refused), TURN):
            await asyncio.sleep(0)
            self._end_refused(refused[start : start + TURN])

    def _end_refused(self, connections: Sequence[Connection]) -> None:
        # By the time of its turn one may have gone, or have shown another token.
        for connection in _open(connections):
            refusal = self._refusal(connection.identity)
            if refusal is not None:
                end(connection, refusal)

    def _refusal(self, identity: Identity) -> NotifierError | None:
        try:
            self._authenticator.check_still(identity)
        except NotifierError as refusal:
            return without_frames(refusal)
        return None

    async def _end_all(self, holder: Holder) -> int:
        ended = 0
        for n, connection in enumerate(_open(self._connections.values()), start=1):
            if n % TURN == 0:
                await asyncio.sleep(0)
            # Some may have gone by the time their turn has come.
            if not connection.sink.closed and _is_of(connection, holder):
                end(connection, ConnectionEnded(ENDED))
                ended += 1
        return ended

    def _state(self, connection: Connection) -> ConnectionState:
        identity = connection.identity
        return ConnectionState(
            id=connection.id,
            node=self._node,
            transport=connection.sink.traffic.transport,
            remote=connection.address,
            kind=identity.kind,
            name=identity.name,
            since_ms=connection.since_ms,
            subscriptions=len(self._subscriptions.names(connection.sink)),
            expires_at=identity.expires_at,
        )


def _as_json(state: ConnectionState) -> dict[str, Any]:
    # asdict() copies each value: 8 ms for a page of 1,000, this 1.5.
    return {field.name: getattr(state, field.name) for field in fields(state)}


def _open(connections: Iterable[Connection]) -> Sequence[Connection]:
    """Those that are not about to end already."""
    return [connection for connection in connections if not connection.sink.ended]


def _is_of(connection: Connection, holder: Holder | None) -> bool:
    identity = connection.identity
    return holder is None or (identity.kind, identity.name) == (holder.kind, holder.name)
