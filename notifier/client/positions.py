"""Where a subscription stands in each of its channels."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_TOKEN_BYTES = 4096  # of a resume token; the server refuses longer ones


class Place(NamedTuple):
    """A position, taken apart."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """:raises ValueError: when the text is none."""
        epoch, _, offset = text.rpartition(":")
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    def covers(self, other: Place) -> bool:
        """Whether who is here has had ``other``."""
        return self.epoch == other.epoch and self.offset >= other.offset


@dataclass(frozen=True, slots=True)
class Step:
    """What one message changes about where a subscription stands.

    :param channel: whose place changes.
    :param place: its new one; ``None`` when it is ephemeral.
    :param time_ms: by the server's clock; everything published before it has been heard.
    :param settled: the channel or pattern that the server has answered about.
    :param gone: channels of a pattern that the server does not know any more.
    """

    channel: str | None = None
    place: Place | None = None
    time_ms: int | None = None
    settled: str | None = None
    gone: frozenset[str] = frozenset()


@dataclass(slots=True)
class Positions:
    """Where a subscription stands; advanced by one :class:`Step` per message."""

    names: tuple[str, ...]
    # The channel that stepped last is the last one.
    places: dict[str, Place | None] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    time_ms: int | None = None  # by the server's clock, once it has told
    began_ms: int = field(default_factory=lambda: round(time.time() * 1000))

    def advance(self, step: Step) -> None:
        if step.channel is not None:
            self.places.pop(step.channel, None)
            self.places[step.channel] = step.place
        if step.time_ms is not None:
            self.time_ms = max(step.time_ms, self.time_ms or 0)
        if step.settled is not None:
            self.settled.add(step.settled)
        for channel in step.gone:
            self.places.pop(channel, None)

    def get(self, channel: str) -> str | None:
        """The channel's position; ``None`` when it is not known, or the channel is ephemeral."""
        place = self.places.get(channel)
        return None if place is None else str(place)

    @property
    def complete(self) -> bool:
        """Whether the server has answered about all that was asked for."""
        return self.settled.issuperset(self.names)

    def token(self, channels: Iterable[str] | None = None) -> tuple[str, list[str]]:
        """A resume token for these channels (all), and those that found no room in it.

        What it leaves out are those that stepped the longest ago. The server delivers them from
        the token's time on, before which nothing of theirs is outstanding.
        """
        time_ms = self.began_ms if self.time_ms is None else self.time_ms
        end = f";t={time_ms // 1000}.{time_ms % 1000:03}"
        parts: list[str] = []
        left_out: list[str] = []
        size = len(end)
        wanted = self.places.keys() if channels is None else frozenset(channels)
        for channel, place in reversed(self.places.items()):
            if place is None or channel not in wanted:
                continue
            part = f"{channel}={place}"
            size += len(part.encode()) + 1
            if size > MAX_TOKEN_BYTES:
                left_out.append(channel)
            else:
                parts.append(part)
        return ",".join(reversed(parts)) + end, left_out
