"""What a client was told, checked against what was published: the exact account.

A :class:`RecordingBroker` writes down everything it stores. An :class:`Account` is given every
message one client receives, and fails when a publication is missing without a word, comes twice,
out of order, changed or unasked, or when a gap tells something that is not so.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from notifier.brokers.base import Idempotency, Receipt
from notifier.brokers.memory.broker import MemoryBroker
from notifier.errors import BrokerUnavailable
from notifier.history import History
from notifier.notification import Draft, Gap, Position, Publication
from notifier.wire.resume import Since


class Ledger:
    """All that was ever published to one channel."""

    def __init__(self) -> None:
        self.epochs: dict[str, list[Publication]] = {}
        self.ids: dict[str, int] = {}
        self.publications: list[Publication] = []

    def record(self, publication: Publication) -> None:
        self.ids[publication.id] = len(self.publications)
        self.publications.append(publication)
        place = publication.position
        if place is not None:
            epoch = self.epochs.setdefault(place.epoch, [])
            assert place.offset == len(epoch) + 1, "offsets grow by one"
            epoch.append(publication)

    @property
    def head(self) -> Position | None:
        return self.publications[-1].position if self.publications else None

    def between(self, after: Position, before: Position) -> list[Publication]:
        """What lies strictly between two positions, as far as it ever existed."""
        if after.epoch == before.epoch:
            return self.epochs.get(after.epoch, [])[after.offset : max(0, before.offset - 1)]
        older = self.epochs.get(after.epoch, [])[after.offset :]
        return older + self.epochs.get(before.epoch, [])[: before.offset - 1]


class RecordingBroker(MemoryBroker):
    """The embedded broker, with a far end: it writes down, counts, delays and fails.

    :ivar pauses: turns of the loop that reading takes, before and after the log is looked at.
    :ivar down: history can't be reached.
    :ivar reads: how often the history of each channel was read.
    :ivar on_read: called before the history of a channel is read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledgers: defaultdict[str, Ledger] = defaultdict(Ledger)
        self.pauses = (0, 0)
        self.down = False
        self.reads: defaultdict[str, int] = defaultdict(int)
        self.on_read: Callable[[str], Awaitable[None]] | None = None

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        receipt = await super().publish(draft, idempotency)
        if not receipt.repeated:
            self.ledgers[draft.channel].record(
                Publication(
                    draft.channel,
                    receipt.position,
                    draft.id,
                    draft.time_ms,
                    draft.body,
                    draft.key,
                    draft.expires_ms,
                )
            )
        return receipt

    async def history(self, channel: str, since: Since, limit: int, **more: Any) -> History:
        self.reads[channel] += 1
        if self.on_read is not None:
            await self.on_read(channel)
        for _ in range(self.pauses[0]):
            await asyncio.sleep(0)
        if self.down:
            raise BrokerUnavailable("the far end is away")
        page = await super().history(channel, since, limit, **more)
        for _ in range(self.pauses[1]):
            await asyncio.sleep(0)
        return page

    def available(self, channel: str) -> list[Publication]:
        """What history has of the channel now; nothing is changed by looking."""
        log = self._logs.get(channel)
        if log is None:
            return []
        now_ms = self._now_ms()
        oldest_ms = now_ms - round(self._namespaces.of(channel).history_ttl * 1000)
        return [p for p in log.publications if not p.expired(now_ms) and p.time_ms > oldest_ms]

    def lose(self, channel: str) -> None:
        """Lose the channel's log, and tell who listens, as a broker must."""
        logs = self._logs
        log = logs.get(channel)
        if log is None or not log.head:
            return
        old = Position(log.epoch, log.head)
        logs.forget(channel, log)
        receiver = self._receivers.get(channel)
        if receiver is not None:
            fresh = logs.to_follow(channel, self._now_ms())
            receiver.gap(Gap(channel, after=old, before=Position(fresh.epoch, 1)))

    def forget_all_history(self, channel: str) -> None:
        """Trim the channel's history to nothing, as the bound in bytes over all channels does."""
        log = self._logs.get(channel)
        if log is None:
            return
        self._logs.clear(channel, log)


class Account:
    """One connection's.

    :ivar places: where the client is in each channel it is subscribed to; ``None``: ephemeral.
    :ivar gaps: the gaps it was told of, in order.
    """

    def __init__(self, broker: RecordingBroker, now_ms: Callable[[], int]) -> None:
        self._broker = broker
        self._now_ms = now_ms
        self._expected: deque[tuple[int, str]] = deque()
        self._last_seen: dict[str, int] = {}
        self.places: dict[str, Position | None] = {}
        self.delivered = 0
        self.gaps: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.welcomed = False
        self.reconnects = 0

    def expect(self, ref: int, kind: str) -> None:
        """The client sent a command; its answer is due after those before it."""
        self._expected.append((ref, kind))

    @property
    def owed(self) -> int:
        """Answers still due."""
        return len(self._expected)

    def receive(self, payload: bytes) -> dict[str, Any]:
        message = json.loads(payload)
        kind = message["type"]
        assert self.welcomed == (kind != "welcome"), "welcome is the first message, once"
        if "ref" in message:
            self._answered(message)
        match kind:
            case "welcome":
                self.welcomed = True
            case "subscribed":
                self._subscribed(message)
            case "unsubscribed":
                del self.places[message["channel"]]
            case "notification":
                self._notification(message)
            case "gap":
                self._gap(message)
            case "reconnect":
                self.reconnects += 1
            case _:
                assert kind in ("reply", "error"), kind
        return message

    def _answered(self, message: dict[str, Any]) -> None:
        assert self._expected, f"an answer to nothing: {message}"
        ref, kind = self._expected.popleft()
        assert message["ref"] == ref, f"the answer to {message['ref']}, due is {ref} ({kind})"
        self.answers[ref] = message

    def _subscribed(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        assert channel not in self.places, "subscribed already"
        if message["position"] is None:
            assert message["recovered"] is None
            self.places[channel] = None
            return
        self._last_seen.pop(channel, None)  # an old position asks for what came before
        place = self.places[channel] = Position.parse(message["position"])
        assert message["recovered"] is ("gap" not in message)
        if "gap" in message:
            self.gaps.append(message["gap"])
            before = Position.parse(message["gap"]["before"])
            assert before.epoch == place.epoch
            self._all_expired(channel, place, before)
            self._truthful(channel, message["gap"])

    def _notification(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        assert channel in self.places, f"of {channel}, unasked"
        ledger = self._broker.ledgers[channel]
        index = ledger.ids[message["id"]]
        publication = ledger.publications[index]
        own = json.loads(b"{" + publication.body + b"}")
        assert own.items() <= message.items(), "its own fields"
        assert index > self._last_seen.get(channel, -1), "twice, or out of order"
        self._last_seen[channel] = index
        self.delivered += 1
        place = self.places[channel]
        if publication.position is None:
            assert place is None
            assert message["position"] is None and message["offset"] is None
            return
        here = publication.position
        assert (message["position"], message["offset"]) == (str(here), here.offset)
        assert place is not None
        assert here.epoch == place.epoch, f"{here} after {place}: no word of a new epoch"
        assert here.offset > place.offset, f"{here} after {place}"
        self._all_expired(channel, place, here)
        self.places[channel] = here

    def _gap(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        place = self.places.get(channel)
        assert place is not None, "a gap in a channel that has none"
        assert message["after"] is not None, "mid-stream the old end is known"
        after, before = Position.parse(message["after"]), Position.parse(message["before"])
        assert after.epoch == place.epoch
        if after.offset >= place.offset:
            self._all_expired(channel, place, Position(after.epoch, after.offset + 1))
        else:
            # What it had by the end of the gap before this one is not its own to lose.
            assert not self._broker.ledgers[channel].between(after, place), (message, place)
        self._truthful(channel, message)
        self.gaps.append(message)
        self.places[channel] = Position(before.epoch, before.offset - 1)

    def _truthful(self, channel: str, gap: dict[str, Any]) -> None:
        """Something is missing there, and none of it can be had."""
        before = Position.parse(gap["before"])
        after = Position.parse(gap["after"] or f"{before.epoch}:0")
        if after.epoch == before.epoch and after.offset < before.offset:
            lost = self._broker.ledgers[channel].between(after, before)
            assert lost, f"nothing lies between {after} and {before}"
        for publication in self._broker.available(channel):
            place = publication.position
            assert place is not None
            if place.epoch == before.epoch and place.offset < before.offset:
                there = place.epoch == after.epoch and place.offset <= after.offset
                assert there, f"{place} is said to be lost ({gap}), and is there"

    def _all_expired(self, channel: str, after: Position, before: Position) -> None:
        """Nothing was passed over but what has expired."""
        now_ms = self._now_ms()
        for publication in self._broker.ledgers[channel].between(after, before):
            assert publication.expired(now_ms), (
                f"{publication.position} is missing between {after} and {before}"
            )

    def missing(self) -> Iterator[str]:
        """What a client that has read everything still lacks."""
        if self._expected:
            yield f"answers to {list(self._expected)}"
        now_ms = self._now_ms()
        for channel, place in self.places.items():
            ledger = self._broker.ledgers[channel]
            if place is None or ledger.head is None:
                continue
            if place.epoch != ledger.head.epoch:
                if place.offset:
                    yield f"the end of epoch {place.epoch} of {channel}"
                continue
            for publication in ledger.epochs[place.epoch][place.offset :]:
                if not publication.expired(now_ms):
                    yield f"{channel} {publication.position}"
