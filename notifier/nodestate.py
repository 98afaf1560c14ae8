"""A node, as it is told to those who run the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node and how it is.

    :param id: new for each process.
    :param host: the name of its machine.
    :param port: where it listens for clients; 0: nowhere yet.
    :param started_ms: when its process began, in milliseconds since 1970.
    :param channels: that its connections follow.
    :param reason: why it should get no new clients; ``None`` when it should.
    """

    id: str
    host: str
    port: int
    version: str
    started_ms: int
    connections: int
    subscriptions: int
    channels: int
    reason: str | None
