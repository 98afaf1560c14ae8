"""The logs of all channels, within their bounds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Container

from notifier.brokers.base import too_many_channels
from notifier.brokers.epochs import counter_ms, new_epoch
from notifier.brokers.memory.log import Log
from notifier.channels import Namespace, Namespaces
from notifier.notification import Publication

# Logs looked at in one call of sweep(), so that a sweep never holds the loop for long.
SWEEP_LOGS = 1000


class Logs:
    """By channel. Time is an argument: milliseconds since 1970.

    :param history_bytes: bound over all channels; the least recently used are trimmed first.
    :param max_channels: channels that have ever been published to and are remembered.
    :ivar size: bytes of history held, over all channels.
    """

    def __init__(self, namespaces: Namespaces, *, history_bytes: int, max_channels: int) -> None:
        self.size = 0
        self._namespaces = namespaces
        self._history_bytes = history_bytes
        self._max_channels = max_channels
        # Channels nobody ever published to share this epoch, so they cost nothing.
        self._virgin_epoch = new_epoch()
        self._logs: dict[str, Log] = {}
        # The logs that hold publications, the least recently used first.
        self._recent: OrderedDict[str, Log] = OrderedDict()
        # Channels that have an offset above 0, in order.
        self._names: list[str] = []
        self._unswept: list[str] = []

    def get(self, channel: str) -> Log | None:
        return self._logs.get(channel)

    def virgin(self, now_ms: int) -> Log:
        """That of a channel without one; it is not kept."""
        return Log(self._virgin_epoch, now_ms)

    def names(self, after: str, prefix: str, limit: int) -> list[str]:
        """Channels that were ever published to, in order: those behind ``after``, from the first
        with the prefix on; also such as do not have it."""
        start = max(bisect_right(self._names, after), bisect_left(self._names, prefix))
        return self._names[start : start + limit]

    def to_follow(self, channel: str, now_ms: int) -> Log:
        """It stays while somebody listens, though nothing may ever have been published."""
        log = self._logs.get(channel)
        if log is None:
            log = self._logs[channel] = self.virgin(now_ms)
        self.touch(channel, log, now_ms)
        return log

    def unfollow(self, channel: str, now_ms: int) -> None:
        """Nobody listens any more."""
        log = self._logs.get(channel)
        if log is None:
            return
        log.used_ms = now_ms  # who comes back soon must find the counter
        if log.head == 0 and log.epoch == self._virgin_epoch:
            del self._logs[channel]

    def to_write(self, channel: str, now_ms: int) -> Log:
        """:raises TooManyChannels: and nothing has changed."""
        log = self._logs.get(channel)
        if log is None or log.head == 0:
            # Listeners to channels without publications don't count: they leave again.
            if len(self._names) >= self._max_channels:
                raise too_many_channels(self._max_channels)
            insort(self._names, channel)
        if log is None:
            log = self._logs[channel] = self.virgin(now_ms)
        return log

    def store(self, log: Log, publication: Publication, namespace: Namespace, now_ms: int) -> None:
        """Append, and keep every bound."""
        log.append(publication)
        log.used_ms = now_ms
        self.size += publication.size
        self._recent[publication.channel] = log
        self._recent.move_to_end(publication.channel)
        self.trim(publication.channel, log, namespace, now_ms)
        while self.size > self._history_bytes:
            channel, oldest = next(iter(self._recent.items()))
            self.size -= oldest.drop_oldest()
            if not oldest.publications:
                del self._recent[channel]

    def touch(self, channel: str, log: Log, now_ms: int) -> None:
        """It is used."""
        log.used_ms = now_ms
        if channel in self._recent:
            self._recent.move_to_end(channel)

    def trim(self, channel: str, log: Log, namespace: Namespace, now_ms: int) -> None:
        """Drop what its namespace does not keep."""
        # Before the rest: trimmed, what had expired anyway would count as lost.
        self.size -= log.drop_expired(now_ms)
        publications = log.publications
        oldest_ms, kept = now_ms - namespace.history_ttl * 1000, namespace.history_size
        while publications and (len(publications) > kept or publications[0].time_ms <= oldest_ms):
            self.size -= log.drop_oldest()
        if not log.publications:
            self._recent.pop(channel, None)

    def clear(self, channel: str, log: Log) -> None:
        self.size -= log.clear()
        self._recent.pop(channel, None)

    def sweep(self, followed: Container[str], now_ms: int) -> None:
        """Let go of what time has run out for; a bounded piece of the work each call.

        Who is ``followed`` keeps its counter.
        """
        if not self._unswept:
            self._unswept = list(self._logs)
        for channel in self._unswept[-SWEEP_LOGS:]:
            log = self._logs.get(channel)
            if log is None:
                continue
            namespace = self._namespaces.of(channel)
            self.trim(channel, log, namespace, now_ms)
            if channel not in followed and now_ms - log.used_ms > counter_ms(namespace):
                self.forget(channel, log)
        del self._unswept[-SWEEP_LOGS:]

    def forget(self, channel: str, log: Log) -> None:
        """Its counter as well."""
        del self._logs[channel]
        self._recent.pop(channel, None)
        self.size -= log.size
        if log.head:
            del self._names[bisect_left(self._names, channel)]
        if log.head and log.epoch == self._virgin_epoch:
            # Its offsets begin anew: whoever still has one must be able to tell.
            self._virgin_epoch = new_epoch()
