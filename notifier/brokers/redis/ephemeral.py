"""Channels without history: nothing but PUBLISH, and who hears it.

A channel is subscribed to by its name. Where a client follows a pattern, all of the namespace is
heard, for that is how a channel that nobody listens to yet is noticed; then what comes by name is
passed over, so that nothing is told twice.
"""

from __future__ import annotations

from collections import Counter

from notifier.brokers.base import Receiver, Watcher
from notifier.brokers.redis.doorbell import Listening
from notifier.brokers.redis.doorbells import Doorbells, heard
from notifier.brokers.redis.entry import decode
from notifier.brokers.redis.names import Names
from notifier.channels import Namespaces, Pattern


class _ByName:
    """The ear of one channel."""

    def __init__(self, owner: Ephemeral) -> None:
        self._owner = owner

    def hears(self) -> None: ...

    def rung(self, bell: bytes, message: bytes) -> None:
        self._owner.told_by_name(bell, message)


class _ByNamespace:
    """The ear of all channels of a namespace."""

    def __init__(self, owner: Ephemeral) -> None:
        self._owner = owner

    def hears(self) -> None: ...

    def rung(self, bell: bytes, message: bytes) -> None:
        self._owner.told(bell, message)


class Ephemeral:
    """Those that this node hears.

    :param timeout: seconds that becoming a receiver may take.
    """

    def __init__(
        self, doorbells: Doorbells, names: Names, namespaces: Namespaces, *, timeout: float
    ) -> None:
        self._doorbells = doorbells
        self._names = names
        self._namespaces = namespaces
        self._timeout = timeout
        self._watcher: Watcher | None = None
        self._receivers: dict[str, Receiver] = {}
        # How many want to become a channel's receiver.
        self._awaited: Counter[str] = Counter()
        self._by_name = _ByName(self)
        self._by_namespace = _ByNamespace(self)
        # How many patterns want all of a namespace, and the ear that hears it.
        self._wanted: Counter[str] = Counter()
        self._namespace_ears: dict[str, Listening] = {}

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        """:raises BrokerUnavailable:"""
        if self._receivers.get(channel) is receiver:
            return
        listening = self._doorbells.listen(
            self._names.live_bell(channel), self._by_name, verb="SUBSCRIBE"
        )
        self._awaited[channel] += 1
        try:
            await heard(listening, self._timeout)
            self._adopt(channel, receiver)
        finally:
            self._awaited[channel] -= 1
            self._leave_if_unused(channel)

    def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._receivers.get(channel) is receiver:
            del self._receivers[channel]
            self._leave_if_unused(channel)

    def _leave_if_unused(self, channel: str) -> None:
        if not self._awaited[channel]:
            del self._awaited[channel]
            if channel not in self._receivers:
                self._doorbells.ignore(self._names.live_bell(channel))

    # --- patterns ---

    async def follow(self, pattern: Pattern) -> None:
        """Notice channels of the pattern that nobody here listens to.

        :raises BrokerUnavailable:
        """
        for namespace in self._namespaces_of(pattern):
            self._wanted[namespace] += 1
            if namespace not in self._namespace_ears:
                self._namespace_ears[namespace] = self._doorbells.listen(
                    self._names.live_pattern(namespace), self._by_namespace, verb="PSUBSCRIBE"
                )
        try:
            for namespace in self._namespaces_of(pattern):
                await heard(self._namespace_ears[namespace], self._timeout)
        except BaseException:
            self.unfollow(pattern)
            raise

    def unfollow(self, pattern: Pattern) -> None:
        for namespace in self._namespaces_of(pattern):
            self._wanted[namespace] -= 1
            if not self._wanted[namespace]:
                del self._wanted[namespace], self._namespace_ears[namespace]
                self._doorbells.ignore(self._names.live_pattern(namespace))

    def _namespaces_of(self, pattern: Pattern) -> list[str]:
        """Ephemeral namespaces that may have channels of the pattern."""
        name, colon, _ = pattern.prefix.partition(":")
        if colon:
            names = [name if name in self._namespaces.named else ""]
        else:
            names = ["", *self._namespaces.named]
        return [
            name
            for name in names
            if (self._namespaces.named[name] if name else self._namespaces.default).ephemeral
        ]

    # --- what the doorbells tell ---

    def told_by_name(self, bell: bytes, message: bytes) -> None:
        channel = self._names.live_channel(bell)
        if not self._all_heard(channel):
            self._tell(channel, message)

    def _all_heard(self, channel: str) -> bool:
        """Whether all of its namespace is heard."""
        ear = self._namespace_ears.get(self._names.namespace(channel))
        return ear is not None and ear.confirmed.done()

    def told(self, bell: bytes, message: bytes) -> None:
        channel = self._names.live_channel(bell)
        if not self._all_heard(channel):
            return  # it was heard for who has left, and comes by name as well
        if channel not in self._receivers and self._watcher is not None:
            receiver = self._watcher.born(channel, None)
            if receiver is not None:
                self._doorbells.listen(
                    self._names.live_bell(channel), self._by_name, verb="SUBSCRIBE"
                )
                self._adopt(channel, receiver)
        self._tell(channel, message)

    def _tell(self, channel: str, message: bytes) -> None:
        receiver = self._receivers.get(channel)
        if receiver is not None:
            receiver.publication(decode(channel, None, message))

    def _adopt(self, channel: str, receiver: Receiver) -> None:
        if self._receivers.get(channel) is not receiver:
            self._receivers[channel] = receiver
            receiver.begin(None)
