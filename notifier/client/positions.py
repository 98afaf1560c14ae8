"""Where a subscription stands in each of its channels."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from notifier.channels import check_channel
from notifier.errors import BadRequest
from notifier.notification import Position

_TOKEN = re.compile(r"(.*);t=([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.DOTALL)


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
class Token:
    """A resume token: where one stands in channels, and when that was.

    The server bounds those it is sent; ours name every channel, and are sent in parts.

    :param places: of every channel that has one.
    :param time_ms: by the server's clock; other channels are delivered from there on.
    """

    places: Mapping[str, Place]
    time_ms: int

    @classmethod
    def parse(cls, text: str) -> Token:
        """:raises ValueError: when the text is none."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError("it has no time")
        places: dict[str, Place] = {}
        for part in filter(None, match[1].split(",")):
            channel, _, position = part.rpartition("=")
            try:
                check_channel(channel)
            except BadRequest as error:
                raise ValueError(str(error)) from None
            places[channel] = Place(*_epoch_and_offset(position))
        milliseconds = int((match[3] or "0").ljust(3, "0")[:3])
        return cls(places, int(match[2]) * 1000 + milliseconds)

    def __str__(self) -> str:
        parts = ",".join(f"{channel}={place}" for channel, place in self.places.items())
        return f"{parts};t={self.time_ms // 1000}.{self.time_ms % 1000:03}"

    def split(self, size: int) -> tuple[Token, dict[str, Place]]:
        """As much of it as fits into so many bytes, the last first, and what does not."""
        room = size - len(str(Token({}, self.time_ms)))
        fitting: dict[str, Place] = {}
        rest: dict[str, Place] = {}
        for channel, place in reversed(list(self.places.items())):
            room -= len(f"{channel}={place},".encode())
            (fitting if room >= 0 else rest)[channel] = place
        return Token(dict(reversed(fitting.items())), self.time_ms), rest


def _epoch_and_offset(text: str) -> tuple[str, int]:
    position = Position.parse(text)
    return position.epoch, position.offset


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

    def token(self) -> Token:
        """Where all channels stand."""
        places = {name: place for name, place in self.places.items() if place is not None}
        return Token(places, self.began_ms if self.time_ms is None else self.time_ms)
