"""What was acknowledged and what every listener was told, compared: the exact account.

A :class:`Ledger` has what producers were answered, an :class:`Account` what one listener was told
over all its connections, and a :class:`Balance` draws the line under them.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from notifier.channels import Pattern, is_pattern
from notifier.notification import Position


class Entry(NamedTuple):
    """A publication; ``place`` is ``None`` in an ephemeral channel."""

    id: str
    place: Position | None


class Told(NamedTuple):
    """A gap: what is strictly between was missed."""

    after: Position | None
    before: Position

    def covers(self, place: Position) -> bool:
        """Whether it says that the publication at this place was missed."""
        if self.after is not None and self.after.epoch == self.before.epoch:
            inside = self.after.offset < place.offset < self.before.offset
            return place.epoch == self.before.epoch and inside
        if place.epoch == self.before.epoch:
            return place.offset < self.before.offset
        # Of the old log, or of one that came and went in between.
        return (
            self.after is None
            or place.epoch != self.after.epoch
            or place.offset > self.after.offset
        )


def parsed(position: str | None) -> Position | None:
    return None if position is None else Position.parse(position)


@dataclass
class Ledger:
    """What the producers did.

    :ivar sent: how many publications were given to a node, once or again and again.
    :ivar repeated: how many were answered as stored before.
    :ivar refused: how often a node could not just now, by the error's code; 0: no answer.
    :ivar disorder: where a producer was told a place that is not after the one it had before.
    """

    sent: int = 0
    acknowledged: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    repeated: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    disorder: list[str] = field(default_factory=list)
    _last: dict[tuple[str, str], Position] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Of all that is acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def acknowledge(self, producer: str, answer: Any) -> None:
        """:param producer: publishes one after the other, and never the same again."""
        channel, place = answer["channel"], parsed(answer["position"])
        if place is not None:
            before = self._last.get((producer, channel))
            if before is not None and before.epoch == place.epoch and before.offset >= place.offset:
                self.disorder.append(f"{producer}: {place} of {channel} after {before}")
            self._last[producer, channel] = place
        self.acknowledged[channel].append(Entry(answer["id"], place))


class Account:
    """One listener's, of the channels and patterns it follows, over all its connections.

    It fails as soon as something is missing without a word, comes twice or out of order.

    :ivar heard: every publication, by channel, in order.
    :ivar gaps: what it was told that it missed, by channel.
    :ivar places: where it is in each channel.
    :ivar patterns: those that were answered.
    """

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        self._names = [Pattern(name) if is_pattern(name) else name for name in names]
        self.patterns: set[str] = set()
        self.heard: dict[str, list[Entry]] = defaultdict(list)
        self.gaps: dict[str, list[Told]] = defaultdict(list)
        self.places: dict[str, Position | None] = {}
        self.connections = 0
        self.recoveries = 0
        # The last that it was told, for who wants to know why it fails.
        self.trail: deque[str] = deque(maxlen=12)
        self._ephemeral: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        heard = sum(map(len, self.heard.values()))
        gaps = sum(map(len, self.gaps.values()))
        return f"{self.name}: {heard} heard, {gaps} gaps, {self.connections} connections"

    def take(self, message: dict[str, Any]) -> None:
        """A message of the native protocol that is not one it has asked to hear again."""
        match message["type"]:
            case "subscribed" if "channels" in message:
                self.patterns.add(message["channel"])
            case "subscribed":
                self._subscribed(message)
            case "notification":
                self.hear(message["channel"], message["id"], parsed(message["position"]))
            case "gap":
                self.miss(message["channel"], message["after"], message["before"])
            case "error" | "unsubscribed":
                raise AssertionError(f"{self.name} was told {message}")

    def _subscribed(self, message: dict[str, Any]) -> None:
        channel, here = message["channel"], parsed(message["position"])
        had = self.places.get(channel)
        if here is None:
            assert message["recovered"] is None, message
            self.places[channel] = None
            return
        assert message["recovered"] is ("gap" not in message), message
        if "gap" in message:
            self.miss(channel, message["gap"]["after"], message["gap"]["before"])
            assert self.places[channel] == here, message
        elif had is None:
            self.places[channel] = here
        else:
            self.recoveries += 1
            assert here.epoch == had.epoch, f"{self.name}: {message} at {had}: no word of a gap"
            assert here.offset <= had.offset, f"{self.name}: {message} at {had}: some are missing"

    def hear(self, channel: str, id: str, place: Position | None) -> None:
        if place is None:
            assert (channel, id) not in self._ephemeral, f"{self.name}: {id} came twice"
            self._ephemeral.add((channel, id))
            self.places[channel] = None
        else:
            had = self.places.get(channel) or Position(place.epoch, 0)
            where = f"{self.name}, {channel}: {place} ({id}) after {had}"
            assert had.epoch == place.epoch, f"{where}: no word of a new epoch"
            assert had.offset < place.offset, f"{where}: twice, or out of order"
            assert had.offset + 1 == place.offset, f"{where}: no word of what is missing"
            self.places[channel] = place
        self.heard[channel].append(Entry(id, place))

    def miss(self, channel: str, after: str | None, before: str) -> None:
        """A gap."""
        gap = Told(parsed(after), Position.parse(before))
        had = self.places.get(channel)
        if gap.after is not None and had is not None:
            assert gap.after == had, f"{self.name}, {channel}: {gap} at {had}"
        self.gaps[channel].append(gap)
        self.places[channel] = Position(gap.before.epoch, gap.before.offset - 1)

    def follows(self, channel: str) -> bool:
        return any(
            name.matches(channel) if isinstance(name, Pattern) else name == channel
            for name in self._names
        )

    def behind(self, heads: dict[str, Position]) -> dict[str, Position | None]:
        """Where it is in the channels whose logs go on from there."""
        return {
            channel: self.places.get(channel)
            for channel, head in heads.items()
            if self.follows(channel) and self.places.get(channel) != head
        }


@dataclass
class Balance:
    """Everything, when it is over.

    :param stored: what history has of each channel; nothing was trimmed.
    """

    ledger: Ledger
    accounts: list[Account]
    stored: dict[str, list[Entry]]

    def __str__(self) -> str:
        ledger = self.ledger
        lines = [
            f"{ledger.count} acknowledged ({ledger.repeated} as stored before, "
            f"refusals: {dict(ledger.refused)})",
            *map(repr, self.accounts),
        ]
        return "\n".join(lines)

    def exact(self) -> None:
        """Every acknowledged publication is stored, where it was said to be, and every listener
        has heard all that is stored: in order, each once, and was told of no gap."""
        assert not self.ledger.disorder
        for channel, publications in self.stored.items():
            offsets = [place.offset for _, place in publications if place is not None]
            assert offsets == list(range(1, len(publications) + 1)), channel
            assert len({place.epoch for _, place in publications if place is not None}) == 1
            assert len({id for id, _ in publications}) == len(publications), "stored twice"
        for channel, acknowledged in self.ledger.acknowledged.items():
            lost = set(acknowledged) - set(self.stored[channel])
            assert not lost, f"{len(lost)} of {channel} are not where they were said to be: {lost}"
        for account in self.accounts:
            assert not any(account.gaps.values()), f"{account.name} was told of {account.gaps}"
            for channel, publications in self.stored.items():
                if account.follows(channel):
                    assert account.heard[channel] == publications, f"{account.name}, {channel}"

    @property
    def rolled_back(self) -> int:
        """How many acknowledged publications are not stored any more."""
        return sum(
            len({id for id, _ in acknowledged} - {id for id, _ in self.stored[channel]})
            for channel, acknowledged in self.ledger.acknowledged.items()
        )

    def truthful(self) -> dict[str, int]:
        """What was acknowledged and a listener has not heard, it was told to have missed; and
        what it was told to have missed can't be had any more.

        :return: how many acknowledged publications each listener missed.
        """
        missed = {}
        for account in self.accounts:
            missed[account.name] = 0
            for channel, acknowledged in self.ledger.acknowledged.items():
                heard = {id for id, _ in account.heard[channel]}
                for id, place in acknowledged:
                    if id in heard or not account.follows(channel):
                        continue
                    assert place is not None
                    told = any(gap.covers(place) for gap in account.gaps[channel])
                    assert told, f"{account.name} lacks {id} at {place} of {channel}: silence"
                    missed[account.name] += 1
            for channel, publications in self.stored.items():
                heard = {id for id, _ in account.heard[channel]}
                for id, place in publications if account.follows(channel) else ():
                    assert id in heard, f"{account.name} lacks {id} at {place}, which is stored"
        return missed
