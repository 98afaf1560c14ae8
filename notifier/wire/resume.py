"""Where a subscription begins: the values of ``since``.

``latest`` · ``all`` · a position ``k3Jd9wQa:42`` · a duration ``10m`` (that long ago) · an
RFC 3339 time · a count ``-20`` (the last twenty) · a resume token
``alerts=k3Jd9wQa:42,builds=p0Qa:7;t=1795368240.123``, which carries the positions of several
channels and the time it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from notifier.channels import check_channel, is_pattern
from notifier.durations import parse_duration
from notifier.errors import BadRequest, BadSince, TokenTooLong
from notifier.instants import parse_instant
from notifier.notification import Position

MAX_TOKEN_BYTES = 4096
# A channel that a token doesn't name is replayed from the token's time less this, so that
# clocks and publications under way don't make a hole.
TOKEN_OVERLAP_MS = 5000

_COUNT = re.compile(r"-([1-9][0-9]{0,8})")
_TOKEN = re.compile(r"(.*);t=([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Latest:
    """Only what comes from now on."""


@dataclass(frozen=True, slots=True)
class All:
    """Everything that history has."""


@dataclass(frozen=True, slots=True)
class After:
    """What follows a position."""

    position: Position


@dataclass(frozen=True, slots=True)
class Time:
    """What was published at this time or later; milliseconds since 1970."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class Last:
    """The last ``count`` publications that history has."""

    count: int


Since = Latest | All | After | Time | Last


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """The positions of several channels, and when they were taken."""

    positions: Mapping[str, Position]
    time_ms: int

    def __str__(self) -> str:
        parts = [part_of(channel, place) for channel, place in self.positions.items()]
        return token_of(parts, self.time_ms)

    def since(self, channel: str) -> Since:
        """Where this channel goes on."""
        position = self.positions.get(channel)
        if position is not None:
            return After(position)
        return Time(self.time_ms - TOKEN_OVERLAP_MS)


def part_of(channel: str, place: Position | str) -> str:
    """A channel's part of a resume token."""
    return f"{channel}={place}"


def token_of(parts: Iterable[str], time_ms: int) -> str:
    """The resume token that has these parts."""
    return f"{','.join(parts)};t={time_ms // 1000}.{time_ms % 1000:03}"


def parse_since(text: str, *, now_ms: int) -> Since | ResumeToken:
    """What ``since`` asks for.

    :raises TokenTooLong: over 4 KiB.
    :raises BadSince: naming the part that can't be read.
    """
    size = len(text.encode(errors="replace"))
    if size > MAX_TOKEN_BYTES:
        raise TokenTooLong(
            f"since is {size} bytes long, {MAX_TOKEN_BYTES} are allowed.", limit=MAX_TOKEN_BYTES
        )
    if text == "latest":
        return Latest()
    if text == "all":
        return All()
    if (count := _COUNT.fullmatch(text)) is not None:
        return Last(int(count[1]))
    if (token := _TOKEN.fullmatch(text)) is not None:
        milliseconds = int((token[3] or "0").ljust(3, "0")[:3])
        # One from the future was made before a clock was set back.
        made_ms = min(int(token[2]) * 1000 + milliseconds, now_ms)
        return ResumeToken(_positions(token[1]), made_ms)
    for read in (_after, _ago, _time):
        try:
            return read(text, now_ms)
        except ValueError:
            continue
    raise BadSince(
        f"{text[:60]!r} can't be read as since. It is latest, all, a position such as "
        "k3Jd9wQa:42, a resume token, a duration such as 10m, an RFC 3339 time, or a count such "
        "as -20.",
        field="since",
    )


@dataclass(frozen=True, slots=True)
class Starts:
    """Where each channel begins: those that were named, and those that patterns bring."""

    since: Since | ResumeToken

    def __call__(self, channel: str) -> Since:
        if isinstance(self.since, ResumeToken):
            return self.since.since(channel)
        return self.since

    @property
    def places(self) -> Mapping[str, Position]:
        """Channels that a resume token names, and where in them."""
        return self.since.positions if isinstance(self.since, ResumeToken) else {}


def starts(since: str | None, names: Iterable[str], *, now_ms: int) -> Starts:
    """What ``since`` means for the channels and patterns.

    :raises BadSince: also for one position with several channels: whose would it be?
    """
    wanted = set(names)
    start = Latest() if since is None else parse_since(since, now_ms=now_ms)
    if isinstance(start, After) and (len(wanted) > 1 or any(map(is_pattern, wanted))):
        raise BadSince(
            "One position can't be the place in several channels: send a resume token, such as "
            f"alerts={start.position},builds=…;t=…",
            field="since",
        )
    return Starts(start)


def _after(text: str, now_ms: int) -> Since:
    return After(Position.parse(text))


def _ago(text: str, now_ms: int) -> Since:
    return Time(max(0, now_ms - round(parse_duration(text) * 1000)))


def _time(text: str, now_ms: int) -> Since:
    return Time(parse_instant(text))


def _positions(text: str) -> dict[str, Position]:
    positions: dict[str, Position] = {}
    for part in filter(None, text.split(",")):
        channel, equals, place = part.rpartition("=")
        try:
            if not equals:
                raise ValueError("it has no =")
            positions[check_channel(channel)] = Position.parse(place)
        except (ValueError, BadRequest) as problem:
            raise BadSince(
                f"The part {part[:60]!r} of the resume token can't be read: {problem}",
                field="since",
            ) from None
    return positions
