"""A connection, as it is told to those who run the service, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Holder:
    """Who shows a credential: a user, by tokens, or a program, by its key.

    :param name: the token's ``sub``, the key's name.
    """

    kind: Literal["token", "key"]
    name: str


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A client's connection and who it is.

    :param node: the id of the node it is connected to.
    :param remote: the address it comes from.
    :param kind: ``anonymous``, ``key`` or ``token``.
    :param name: the key's name, the token's ``sub``; empty for nobody.
    :param since_ms: when it came, in milliseconds since 1970.
    :param subscriptions: channels and patterns it has asked for.
    :param expires_at: when its key or token ends, in seconds since 1970; ``None``: never.
    """

    id: str
    node: str
    transport: str
    remote: str
    kind: str
    name: str
    since_ms: int
    subscriptions: int
    expires_at: float | None

    @classmethod
    def told(cls, members: dict[str, Any]) -> ConnectionState:
        """As another node tells it, without what a newer version may say besides. What is added
        here needs a default, for older ones that don't tell it.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in members.items() if name in known})


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """Connections in the order of their ids.

    :param next: the id the page after this one comes after; ``None`` when it is the last.
    """

    connections: Sequence[ConnectionState]
    next: str | None
