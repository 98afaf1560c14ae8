"""Who is on a channel, as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A connection that follows a channel.

    :param connection: its id.
    :param transport: how it came: ``websocket``, ``events``, ``stream`` or ``raw``.
    :param since_ms: when it joined the channel, in milliseconds since 1970.
    :param node: the id of the node it is connected to.
    :param user: whom its token speaks for; ``None`` without one.
    :param info: JSON that the token has for those who see presence.
    """

    connection: str
    transport: str
    since_ms: int
    node: str
    user: str | None = None
    info: bytes | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """Everyone on a channel at one moment.

    :param listed: who they are, in the order they joined; ``None`` where that is not shown, or
        they are too many to be listed.
    """

    channel: str
    count: int
    listed: Sequence[Member] | None
