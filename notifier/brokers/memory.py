"""The embedded broker: one process, everything in memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from itertools import takewhile

from notifier.brokers.base import Idempotency, Receipt, Receiver, Watcher
from notifier.brokers.epochs import COUNTER_SECONDS, new_epoch
from notifier.brokers.keys import Keys
from notifier.brokers.page import cut_page
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.errors import TooManyChannels
from notifier.history import ChannelState, History
from notifier.notification import Draft, Position, Publication
from notifier.recovery import Extent, recover
from notifier.wire.resume import Since

# Logs looked at in one call of sweep(), so that a sweep never holds the loop for long.
SWEEP_LOGS = 1000
# Names compared with a pattern before everybody else has a turn.
SCAN_NAMES = 1000


class _Log:
    """One channel: its counter, and as much of its history as is kept."""

    __slots__ = ("epoch", "floor", "floor_time_ms", "head", "next_expiry_ms", "publications",
                 "size", "used_ms")  # fmt: skip

    def __init__(self, epoch: str, now_ms: int) -> None:
        self.epoch = epoch
        self.head = 0
        self.floor = 0
        self.floor_time_ms = 0
        self.publications: deque[Publication] = deque()
        self.size = 0
        self.next_expiry_ms: int | None = None
        self.used_ms = now_ms

    def append(self, publication: Publication) -> None:
        self.publications.append(publication)
        self.size += publication.size
        expiry = publication.expires_ms
        if expiry is not None and (self.next_expiry_ms is None or expiry < self.next_expiry_ms):
            self.next_expiry_ms = expiry

    def drop_oldest(self) -> int:
        """Trim one; the bytes that freed."""
        publication = self.publications.popleft()
        assert publication.position is not None
        self.floor = publication.position.offset
        self.floor_time_ms = publication.time_ms
        freed = publication.size
        self.size -= freed
        return freed

    def clear(self) -> int:
        """Trim all; the bytes that freed."""
        freed = self.size
        while self.publications:
            self.drop_oldest()
        return freed

    def drop_expired(self, now_ms: int) -> int:
        """Remove what expired by its own ``expires``: a hole, not a loss. The bytes freed."""
        if self.next_expiry_ms is None or self.next_expiry_ms > now_ms:
            return 0
        kept = [p for p in self.publications if not p.expired(now_ms)]
        before, self.size = self.size, sum(p.size for p in kept)
        self.publications = deque(kept)
        self.next_expiry_ms = min((p.expires_ms for p in kept if p.expires_ms), default=None)
        return before - self.size


class MemoryBroker:
    """Keeps the contract of :class:`~notifier.brokers.base.Broker` within one process.

    :param history_bytes: bound over all channels; the least recently used are trimmed first.
    :param max_channels: channels that have ever been published to and are remembered.
    :param max_idempotency_keys: keys remembered; the oldest are forgotten first.
    :param now_ms: the broker's clock, milliseconds since 1970.
    """

    trouble: str | None = None
    prompt = True

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        history_bytes: int,
        max_channels: int,
        idempotency_ttl: float,
        max_idempotency_keys: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._namespaces = namespaces
        self._history_bytes = history_bytes
        self._max_channels = max_channels
        self._now_ms = now_ms
        # Channels nobody ever published to share this epoch, so they cost nothing.
        self._virgin_epoch = new_epoch()
        self._logs: dict[str, _Log] = {}
        # The logs that hold publications, the least recently used first.
        self._recent: OrderedDict[str, _Log] = OrderedDict()
        self._size = 0
        # Channels that have an offset above 0, in order.
        self._names: list[str] = []
        self._receivers: dict[str, Receiver] = {}
        self._keys = Keys(ttl=idempotency_ttl, max_keys=max_idempotency_keys)
        self._unswept: list[str] = []
        self._watcher: Watcher | None = None

    @property
    def size(self) -> int:
        """Bytes of history held, over all channels."""
        return self._size

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._receivers.clear()

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        now_ms = self._now_ms()
        if idempotency is not None:
            first = self._keys.first_answer(idempotency, now_ms)
            if first is not None:
                return first
        namespace = self._namespaces.of(draft.channel)
        if namespace.ephemeral:
            position = None
        else:
            log = self._log_to_write(draft.channel, now_ms)
            log.head += 1
            position = Position(log.epoch, log.head)
        publication = Publication(
            draft.channel,
            position,
            draft.id,
            draft.time_ms,
            draft.body,
            draft.key,
            draft.expires_ms,
        )
        if position is None:
            if draft.channel not in self._receivers:
                self._announce_birth(draft.channel, None)
        else:
            if log.head == 1:
                self._announce_birth(draft.channel, Position(position.epoch, 0))
            self._store(log, publication, namespace, now_ms)
        receipt = Receipt(draft.id, position)
        if idempotency is not None:
            self._keys.remember(idempotency, receipt, now_ms)
        receiver = self._receivers.get(draft.channel)
        if receiver is not None:
            receiver.publication(publication)
        return receipt

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receivers.get(channel) is receiver:
            return
        self._receivers[channel] = receiver
        if self._namespaces.of(channel).ephemeral:
            receiver.begin(None)
            return
        # The log stays while somebody listens, though nothing may ever have been published.
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = _Log(self._virgin_epoch, self._now_ms())
        self._touch(channel, log)
        receiver.begin(Position(log.epoch, log.head))

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receivers.get(channel) is not receiver:
            return
        del self._receivers[channel]
        log = self._logs.get(channel)
        if log is None:
            return
        log.used_ms = self._now_ms()  # who comes back soon must find the counter
        if log.head == 0 and log.epoch == self._virgin_epoch:
            del self._logs[channel]

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def follow(self, pattern: Pattern) -> None:
        """Nothing to do: all that is published is known here."""

    def unfollow(self, pattern: Pattern) -> None: ...

    def _announce_birth(self, channel: str, head: Position | None) -> None:
        receiver = None if self._watcher is None else self._watcher.born(channel, head)
        if receiver is not None and self._receivers.get(channel) is not receiver:
            self._receivers[channel] = receiver
            receiver.begin(head)

    async def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None = None,
        newest_first: bool = False,
        key: str | None = None,
    ) -> History:
        namespace = self._namespaces.of(channel)
        if namespace.ephemeral:
            return History(channel, None, None, ())
        now_ms = self._now_ms()
        log = self._logs.get(channel)
        if log is None:
            log = _Log(self._virgin_epoch, now_ms)
        else:
            self._touch(channel, log)
            self._trim(channel, log, namespace, now_ms)
        extent = Extent(
            channel, log.epoch, log.floor, log.floor_time_ms, log.head, log.publications
        )
        recovery = recover(since, extent, now_ms=now_ms)
        offset = recovery.after.offset
        publications = _stretch(
            log.publications, offset, extent.offset_before(before), newest_first=newest_first
        )
        page, more = cut_page(
            (p for p in publications if not p.expired(now_ms) and key in (None, p.key)), limit
        )
        return History(
            channel,
            start=recovery.after,
            head=extent.at(log.head),
            publications=page,
            gap=recovery.gap,
            floor_time_ms=log.floor_time_ms,
            complete=offset == log.floor,
            more=more,
        )

    async def clear(self, channel: str) -> int:
        log = self._logs.get(channel)
        if log is None or log.head == 0:
            return 0
        self._trim(channel, log, self._namespaces.of(channel), self._now_ms())
        count = len(log.publications)
        self._size -= log.clear()
        self._recent.pop(channel, None)
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.cleared(Position(log.epoch, log.head))
        return count

    async def channel(self, channel: str) -> ChannelState | None:
        log = self._logs.get(channel)
        if log is None or log.head == 0:
            return None
        self._trim(channel, log, self._namespaces.of(channel), self._now_ms())
        newest = log.publications[-1].time_ms if log.publications else None
        head = Position(log.epoch, log.head)
        return ChannelState(channel, head, len(log.publications), log.size, newest)

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> list[ChannelState]:
        found: list[ChannelState] = []
        prefix = pattern.prefix
        while len(found) < limit:
            start = max(bisect_right(self._names, after), bisect_left(self._names, prefix))
            names = self._names[start : start + SCAN_NAMES]
            for name in filter(pattern.matches, names):
                state = await self.channel(name)
                if state is not None and len(found) < limit:
                    found.append(state)
            if len(names) < SCAN_NAMES or not names[-1].startswith(prefix):
                break
            after = names[-1]
            await asyncio.sleep(0)
        return found

    def sweep(self) -> None:
        """Let go of what time has run out for; a bounded piece of the work each call."""
        now_ms = self._now_ms()
        self._keys.forget(now_ms)
        if not self._unswept:
            self._unswept = list(self._logs)
        for channel in self._unswept[-SWEEP_LOGS:]:
            log = self._logs.get(channel)
            if log is None:
                continue
            namespace = self._namespaces.of(channel)
            self._trim(channel, log, namespace, now_ms)
            kept_ms = round((namespace.history_ttl + COUNTER_SECONDS) * 1000)
            if channel not in self._receivers and now_ms - log.used_ms > kept_ms:
                self._forget(channel, log)
        del self._unswept[-SWEEP_LOGS:]

    # --- logs ---

    def _log_to_write(self, channel: str, now_ms: int) -> _Log:
        log = self._logs.get(channel)
        if log is None or log.head == 0:
            # Listeners to channels without publications don't count: they leave again.
            if len(self._names) >= self._max_channels:
                raise TooManyChannels(
                    f"This server remembers {self._max_channels} channels and can't take another "
                    "now (setting max_channels).",
                    limit=self._max_channels,
                )
            insort(self._names, channel)
        if log is None:
            log = self._logs[channel] = _Log(self._virgin_epoch, now_ms)
        return log

    def _store(
        self, log: _Log, publication: Publication, namespace: Namespace, now_ms: int
    ) -> None:
        log.append(publication)
        log.used_ms = now_ms
        self._size += publication.size
        self._recent[publication.channel] = log
        self._recent.move_to_end(publication.channel)
        self._trim(publication.channel, log, namespace, now_ms)
        while self._size > self._history_bytes:
            channel, oldest = next(iter(self._recent.items()))
            self._size -= oldest.drop_oldest()
            if not oldest.publications:
                del self._recent[channel]

    def _touch(self, channel: str, log: _Log) -> None:
        log.used_ms = self._now_ms()
        if channel in self._recent:
            self._recent.move_to_end(channel)

    def _trim(self, channel: str, log: _Log, namespace: Namespace, now_ms: int) -> None:
        # Before the rest: trimmed, what had expired anyway would count as lost.
        self._size -= log.drop_expired(now_ms)
        publications = log.publications
        oldest_ms, kept = now_ms - namespace.history_ttl * 1000, namespace.history_size
        while publications and (len(publications) > kept or publications[0].time_ms <= oldest_ms):
            self._size -= log.drop_oldest()
        if not log.publications:
            self._recent.pop(channel, None)

    def _forget(self, channel: str, log: _Log) -> None:
        del self._logs[channel]
        self._recent.pop(channel, None)
        self._size -= log.size
        if log.head:
            del self._names[bisect_left(self._names, channel)]
        if log.head and log.epoch == self._virgin_epoch:
            # Its offsets begin anew: whoever still has one must be able to tell.
            self._virgin_epoch = new_epoch()


def _stretch(
    publications: deque[Publication], after: int, before: int | None, *, newest_first: bool
) -> Iterable[Publication]:
    """Those with an offset above ``after`` and below ``before``."""
    if newest_first:
        newest = takewhile(lambda p: _offset(p) > after, reversed(publications))
        return (p for p in newest if before is None or _offset(p) < before)
    oldest = (p for p in publications if _offset(p) > after)
    return takewhile(lambda p: before is None or _offset(p) < before, oldest)


def _offset(publication: Publication) -> int:
    assert publication.position is not None
    return publication.position.offset
