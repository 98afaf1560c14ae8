"""Whom a connection has told what becomes of its subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from notifier.errors import NotifierError
from notifier.notification import Gap, Position


@dataclass(frozen=True, slots=True)
class Joined:
    """A channel is being delivered from here on.

    :param position: everything that is delivered comes after it; ``None``: ephemeral.
    :param gap: what was asked for from before that and can't be had.
    :param pattern: by which it came, if it was not named itself.
    """

    channel: str
    position: Position | None
    gap: Gap | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A connection's ears: what it is told of its subscriptions, besides what they deliver.

    :param joined: called before the first delivery of each channel; what it raises is a refusal.
    :param refused: called for a newborn channel that can't be joined.
    :param presence: it wants to be told, by its sink, who joins and leaves.
    """

    joined: Callable[[Joined], None]
    refused: Callable[[str, NotifierError], None]
    presence: bool = False
