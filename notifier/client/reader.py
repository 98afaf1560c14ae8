"""What a server's messages mean for a subscription: no sockets, no tasks.

It asks for channels, each from where it was left, and turns messages into entries. What a
connection delivers again, because the one before had delivered it as well, is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from notifier.channels import Pattern, is_pattern
from notifier.client.failures import refusal
from notifier.client.notification import Change, Gap, Notification
from notifier.client.positions import Place, Positions, Step, Token
from notifier.instants import parse_instant

# Refs of our pings. Commands are answered in order, so their answers tell where we are:
ATTACHED = "attached"  # everything is subscribed
LEAVE = "leave"  # nothing is on its way that was sent before

_REMEMBERED_IDS = 256
_REMEMBERED_PLACES = 4096
_MAX_TOKEN_BYTES = 4096  # the server refuses longer ones


@dataclass(frozen=True, slots=True)
class Entry:
    """What one message brings: something for the reader, or a step, or both."""

    item: Notification | Gap | Change | None = None
    step: Step | None = None


class Reader:
    """One subscription's side of the conversation, across its connections."""

    def __init__(self, names: tuple[str, ...], *, since: str | None) -> None:
        self._names = names
        self._since = since
        self._start = _token(since)
        self._positions = Positions(names)
        self._connection = 0
        self._known: frozenset[str] = frozenset()  # when the present connection was asked
        self._joined: set[str] = set()  # on the present connection
        self._awaited: set[str] = set()  # patterns that it has not answered about
        self._latest_ms: int | None = None  # the server's time, as far as it has told
        # Where we were in channels that the server does not know, or not yet.
        self._left = dict(self._start.places) if self._start is not None else {}
        self._ids: dict[str, int] = {}  # of ephemeral channels -> the connection it came on

    def commands(self) -> Iterator[dict[str, Any]]:
        """What to ask a new connection for, to go on where we are."""
        self._known = frozenset(self._positions.places)
        patterns = [name for name in self._names if is_pattern(name)]
        asked: dict[str, str | None] = {}
        by_pattern: dict[str, str | None] = {}
        for name in self._names:
            if name not in patterns:
                settled = name in self._positions.settled
                asked[name] = self._positions.get(name) if settled else self._begins(name)
        for pattern in patterns:
            token = self._resumes(pattern)
            if token is not None:
                token, rest = token.split(_MAX_TOKEN_BYTES)
                by_pattern[pattern] = str(token)
            else:
                # Before its answer there is no time from which on to deliver what is not named.
                rest = self._places(pattern, self._positions.token())
                by_pattern[pattern] = self._since
            # What finds no room in a token: by its own name, and before a pattern brings it.
            asked |= {channel: str(place) for channel, place in rest.items()}
        asked |= by_pattern
        for ref, (name, since) in enumerate(asked.items()):
            command: dict[str, Any] = {"type": "subscribe", "channel": name, "ref": ref}
            yield command if since is None else command | {"since": since}
        yield {"type": "ping", "ref": ATTACHED}

    def _begins(self, channel: str) -> str | None:
        """Where one of ours is to begin, of which the server has not told yet."""
        if self._start is None:
            return self._since
        place = self._start.places.get(channel)
        return str(Token({}, self._start.time_ms) if place is None else place)

    def _resumes(self, pattern: str) -> Token | None:
        """Where its channels go on; ``None`` when that can't be said in a token."""
        here = self._positions.token()
        if pattern in self._positions.settled:
            return Token(self._places(pattern, here), here.time_ms)
        if self._start is None:
            return None
        places = self._places(pattern, self._start) | self._places(pattern, here)
        return Token(places, self._start.time_ms)

    def _places(self, pattern: str, token: Token) -> dict[str, Place]:
        return {name: token.places[name] for name in self._of(pattern, token.places)}

    def begin(self) -> None:
        """What is read from now on comes over another connection."""
        self._connection += 1
        self._joined.clear()
        self._awaited = {name for name in self._names if is_pattern(name)}

    def read(self, message: dict[str, Any]) -> Iterator[Entry]:
        """What a message brings. One of no notifier raises something of
        :data:`~notifier.client.failures.UNREADABLE`.

        :raises NotifierError: a channel was refused.
        """
        match message["type"]:
            case "notification":
                yield from self._notification(message)
            case "subscribed":
                yield from self._subscribed(message)
            case "gap":
                yield from self._gap(message)
            case "welcome" if "time" in message:
                yield self._step(Step(time_ms=parse_instant(message["time"])))
            case "reply":
                yield self._step(Step(time_ms=parse_instant(message["result"]["time"])))
                if message.get("ref") == ATTACHED:
                    yield Entry(Change("open"))
            case "unsubscribed" if message["code"]:
                reason = {"message": message["reason"], "channel": message["channel"]}
                raise refusal({"code": message["code"], **reason})
            case "error":
                raise refusal(message)

    def _step(self, step: Step, item: Notification | Gap | None = None) -> Entry:
        if step.time_ms is not None:
            self._latest_ms = max(step.time_ms, self._latest_ms or 0)
        # While a pattern is not answered, it may yet bring channels that begin before.
        step = replace(step, time_ms=None if self._awaited else self._latest_ms)
        self._positions.advance(step)
        return Entry(item, step)

    def _notification(self, message: dict[str, Any]) -> Iterator[Entry]:
        channel, position = message["channel"], message["position"]
        if position is None:
            if self._is_repeated(message["id"]):
                return
            place = None
        else:
            place = Place.parse(position)
            here = self._positions.places.get(channel)
            if here is not None and here.covers(place):
                return
        step = Step(channel, place, time_ms=parse_instant(message["time"]))
        yield self._step(step, Notification(message))

    def _is_repeated(self, id_: str) -> bool:
        """Whether a connection before this one brought it: without a position, ids must tell."""
        first = self._ids.setdefault(id_, self._connection)
        if len(self._ids) > _REMEMBERED_IDS:
            del self._ids[next(iter(self._ids))]
        return first != self._connection

    def _subscribed(self, message: dict[str, Any]) -> Iterator[Entry]:
        channel = message["channel"]
        if is_pattern(channel):
            # One that was born since was heard of over the connection before, and will be here.
            gone = (self._brought_by(channel) & self._known) - self._joined
            self._awaited.discard(channel)
            self._leave(gone)
            yield self._step(Step(settled=channel, gone=gone))
            return
        self._joined.add(channel)
        left = self._left.pop(channel, None)
        settled = channel if channel in self._names else None
        if message["position"] is None:
            yield self._step(Step(channel, None, settled=settled))
            return
        place, gap = Place.parse(message["position"]), message.get("gap")
        here = self._positions.places.get(channel)
        if here is not None and here.covers(place) and not _rolled_back(gap):
            # It begins before the point that the connection before it had reached by now.
            place = here
        if gap is not None:
            news = self._news(channel, gap)
        else:
            news = _missed(channel, left if here is None else here, place)
        yield self._step(Step(channel, place, settled=settled), news)

    def _leave(self, channels: Iterable[str]) -> None:
        """One of them that comes back may be another, or have gone on without us."""
        for channel in channels:
            place = self._positions.places.get(channel)
            if place is not None:
                self._left[channel] = place
        while len(self._left) > _REMEMBERED_PLACES:
            del self._left[next(iter(self._left))]

    def _gap(self, message: dict[str, Any]) -> Iterator[Entry]:
        gap = self._news(message["channel"], message)
        if gap is not None:
            before = Place.parse(gap.before)
            place = Place(before.epoch, before.offset - 1)
            yield self._step(Step(message["channel"], place), gap)

    def _news(self, channel: str, gap: dict[str, Any]) -> Gap | None:
        """The gap, as far as we have not had what it misses over another connection."""
        after, before = gap.get("after"), Place.parse(gap["before"])
        here = self._positions.places.get(channel)
        if here is not None and not _rolled_back(gap):
            if here.covers(Place(before.epoch, before.offset - 1)):
                return None
            if after is not None and here.covers(Place.parse(after)):
                after = str(here)
        return Gap(channel, after, str(before))

    def _brought_by(self, pattern: str) -> frozenset[str]:
        """The channels that are followed because of the pattern."""
        return frozenset(self._of(pattern, self._positions.places))

    def _of(self, pattern: str, channels: Iterable[str]) -> list[str]:
        """Those among the channels that the pattern brings, and that have not their own name."""
        matches = Pattern.parse(pattern).matches
        return [name for name in channels if name not in self._names and matches(name)]


def _token(since: str | None) -> Token | None:
    """None: it is something else, which the server reads or refuses."""
    try:
        return None if since is None else Token.parse(since)
    except ValueError:
        return None


def _missed(channel: str, had: Place | None, place: Place) -> Gap | None:
    """What the server does not know that we miss, in a channel that now begins at ``place``."""
    if had is None or had.covers(place):
        return None
    return Gap(channel, str(had), str(Place(place.epoch, place.offset + 1)))


def _rolled_back(gap: dict[str, Any] | None) -> bool:
    """Whether the log ends before the place we had in it: what follows there is new."""
    if gap is None or gap.get("after") is None:
        return False
    return Place.parse(gap["after"]).covers(Place.parse(gap["before"]))
