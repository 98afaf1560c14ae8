"""Orders and broadcasts as they are told through Redis."""

from __future__ import annotations

from typing import Any

from notifier.auth.revocations import Revocation, UserRevocation
from notifier.brokers.fleet import (
    Broadcast,
    Disconnect,
    DisconnectAll,
    ListConnections,
    Order,
    Unsubscribe,
)
from notifier.connectionstate import Holder


def encode(order: Order | Broadcast) -> dict[str, Any]:
    """As an object of JSON."""
    match order:
        case Disconnect(connection):
            return {"do": "disconnect", "connection": connection}
        case Unsubscribe(connection, name):
            return {"do": "unsubscribe", "connection": connection, "name": name}
        case DisconnectAll(holder):
            return {"do": "disconnect all", "of": [holder.kind, holder.name]}
        case Revocation(token_id, until):
            return {"do": "revoke", "token": token_id, "until": until}
        case UserRevocation(user, before, until):
            return {"do": "revoke user", "user": user, "before": before, "until": until}
        case ListConnections(holder, after, limit):
            of = None if holder is None else [holder.kind, holder.name]
            return {"do": "list connections", "of": of, "after": after, "limit": limit}


def decode_order(told: dict[str, Any]) -> Order | None:
    """``None``: a newer version's."""
    match told:
        case {"do": "disconnect", "connection": connection}:
            return Disconnect(connection)
        case {"do": "unsubscribe", "connection": connection, "name": name}:
            return Unsubscribe(connection, name)
    return None


def decode_broadcast(told: dict[str, Any]) -> Broadcast | None:
    """``None``: a newer version's."""
    match told:
        case {"do": "disconnect all", "of": [kind, name]}:
            return DisconnectAll(Holder(kind, name))
        case {"do": "revoke", "token": token_id, "until": until}:
            return Revocation(token_id, until)
        case {"do": "revoke user", "user": user, "before": before, "until": until}:
            return UserRevocation(user, before, until)
        case {"do": "list connections", "of": of, "after": after, "limit": limit}:
            return ListConnections(of and Holder(*of), after, limit)
    return None
