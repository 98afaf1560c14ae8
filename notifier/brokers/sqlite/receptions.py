"""Who is told of what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from notifier.brokers.base import Receiver, Watcher
from notifier.notification import Position, Publication

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Reception:
    """A channel's receiver, and the epoch it was told."""

    receiver: Receiver
    epoch: str | None


class Receptions:
    """One for each channel that somebody here listens to."""

    def __init__(self) -> None:
        self._receptions: dict[str, _Reception] = {}
        self._watcher: Watcher | None = None

    def __contains__(self, channel: str) -> bool:
        return channel in self._receptions

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def clear(self) -> None:
        """Nobody is told of anything any more."""
        self._receptions.clear()

    def epoch(self, channel: str) -> str | None:
        """The one that its receiver was told, if there is one."""
        reception = self._receptions.get(channel)
        return None if reception is None else reception.epoch

    def epochs(self, channels: Iterable[str]) -> dict[str, str]:
        """Those of them that were told."""
        return {name: epoch for name in channels if (epoch := self.epoch(name))}

    def has(self, channel: str, receiver: Receiver) -> bool:
        """Whether it is who is told of the channel."""
        reception = self._receptions.get(channel)
        return reception is not None and reception.receiver is receiver

    def announce_birth(self, channel: str, head: Position | None) -> None:
        """The channel has come to life; who wants to hear of it does from now on."""
        if self._watcher is None:
            return
        watcher = self._watcher
        receiver = self._tell(partial(watcher.born, channel, head))
        if receiver is not None and not self.has(channel, receiver):
            self.begin(channel, receiver, head)

    def begin(self, channel: str, receiver: Receiver, head: Position | None) -> None:
        """It is told of the channel from there on, in place of the one before."""
        epoch = None if head is None else head.epoch
        self._receptions[channel] = _Reception(receiver, epoch)
        self._tell(partial(receiver.begin, head))

    def end(self, channel: str) -> None:
        """Its receiver has left."""
        del self._receptions[channel]

    def clear_history(self, channel: str, head: Position) -> None:
        """It was deleted, up to the head."""
        reception = self._receptions.get(channel)
        if reception is not None:
            self._tell(partial(reception.receiver.cleared, head))

    def deliver(self, publication: Publication) -> None:
        reception = self._receptions.get(publication.channel)
        if reception is not None:
            self._tell(partial(reception.receiver.publication, publication))

    def _tell(self, call: Callable[[], T]) -> T | None:
        """What fails there must not keep the next ones from hearing, nor the producer's answer."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001
            context = {"message": "a receiver failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            return None
