"""The broker: who publishes, listens and reads, without a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from notifier.brokers.base import Idempotency, Receipt, Receiver, Watcher
from notifier.brokers.keys import Keys
from notifier.brokers.memory.logs import Logs
from notifier.brokers.page import cut_page
from notifier.channels import Namespaces, Pattern
from notifier.history import ChannelState, History
from notifier.notification import Draft, Position
from notifier.recovery import Extent, recover
from notifier.wire.resume import Since

# Names compared with a pattern before everybody else has a turn.
SCAN_NAMES = 1000


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
        self._logs = Logs(namespaces, history_bytes=history_bytes, max_channels=max_channels)
        self._now_ms = now_ms
        self._receivers: dict[str, Receiver] = {}
        self._keys = Keys(ttl=idempotency_ttl, max_keys=max_idempotency_keys)
        self._watcher: Watcher | None = None

    @property
    def size(self) -> int:
        """Bytes of history held, over all channels."""
        return self._logs.size

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
            log = self._logs.to_write(draft.channel, now_ms)
            log.head += 1
            position = Position(log.epoch, log.head)
        publication = draft.at(position)
        if position is None:
            if draft.channel not in self._receivers:
                self._announce_birth(draft.channel, None)
        else:
            if log.head == 1:
                self._announce_birth(draft.channel, Position(position.epoch, 0))
            self._logs.store(log, publication, namespace, now_ms)
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
        log = self._logs.to_follow(channel, self._now_ms())
        receiver.begin(Position(log.epoch, log.head))

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receivers.get(channel) is not receiver:
            return
        del self._receivers[channel]
        self._logs.unfollow(channel, self._now_ms())

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
            log = self._logs.virgin(now_ms)
        else:
            self._logs.touch(channel, log, now_ms)
            self._logs.trim(channel, log, namespace, now_ms)
        extent = Extent(
            channel, log.epoch, log.floor, log.floor_time_ms, log.head, log.publications
        )
        recovery = recover(since, extent, now_ms=now_ms)
        offset = recovery.after.offset
        publications = log.between(offset, extent.offset_before(before), newest_first=newest_first)
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
        self._logs.trim(channel, log, self._namespaces.of(channel), self._now_ms())
        count = len(log.publications)
        self._logs.clear(channel, log)
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.cleared(Position(log.epoch, log.head))
        return count

    async def channel(self, channel: str) -> ChannelState | None:
        log = self._logs.get(channel)
        if log is None or log.head == 0:
            return None
        self._logs.trim(channel, log, self._namespaces.of(channel), self._now_ms())
        newest = log.publications[-1].time_ms if log.publications else None
        head = Position(log.epoch, log.head)
        return ChannelState(channel, head, len(log.publications), log.size, newest)

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> list[ChannelState]:
        found: list[ChannelState] = []
        prefix = pattern.prefix
        while len(found) < limit:
            names = self._logs.names(after, prefix, SCAN_NAMES)
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
        self._logs.sweep(self._receivers, now_ms)
