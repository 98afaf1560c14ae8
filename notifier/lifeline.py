"""The line between a supervisor and one of its workers.

Orders go down, and word of how the start went comes up. An order is said here and not by a signal
since signals are also sent by others: a terminal sends Ctrl-C, and systemd SIGTERM, to supervisor
and workers alike, and a worker could not tell a repetition from somebody who insists. And when
either end dies, however it dies, the other reads an end of file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from notifier import logs
from notifier.orders import Orders

log = logging.getLogger("notifier.worker")

_CHUNK = 4096
# Longer than any sentence: there is room for it while nobody reads.
_MAX_SENTENCE = 2000


class Order(Enum):
    """What a worker is told, as its byte on the line."""

    DRAIN = b"d"
    RELOAD = b"r"
    STOP = b"s"


@dataclass(frozen=True, slots=True)
class Listening:
    """The worker serves at this URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker can't start: a sentence for who started the server."""

    sentence: str


class Lifeline:
    """A worker's end.

    :ivar worker: its number, from 1 on.
    """

    def __init__(self, worker: int, end: socket.socket) -> None:
        self.worker = worker
        self._end = end

    def listening(self, url: str) -> None:
        self._say({"listening": url})

    def failed(self, sentence: str) -> None:
        self._say({"failed": sentence[:_MAX_SENTENCE]})

    @contextlib.contextmanager
    def attended(self, orders: Orders) -> Iterator[None]:
        """Pass on what the supervisor says; when it is gone, drain."""
        loop = asyncio.get_running_loop()

        def on_word() -> None:
            words = _received(self._end)
            if not words:
                loop.remove_reader(self._end)
                logs.event(log, logging.WARNING, "worker.orphaned")
            if Order.RELOAD.value in words:
                orders.reload()
            if Order.STOP.value in words:
                orders.insist()
            elif Order.DRAIN.value in words or not words:
                orders.drain()

        # For an operator who wants this worker replaced; repeating it changes nothing.
        loop.add_signal_handler(signal.SIGTERM, orders.drain)
        loop.add_reader(self._end, on_word)
        try:
            yield
        finally:
            loop.remove_reader(self._end)
            # The process ends here in good order, whoever still wants it to.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            loop.remove_signal_handler(signal.SIGTERM)

    def _say(self, word: dict[str, str]) -> None:
        with contextlib.suppress(OSError):  # nobody is left to be told
            self._end.sendall(json.dumps(word).encode() + b"\n")


class Leash:
    """The supervisor's end; nothing here blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._heard = b""

    def fileno(self) -> int:
        return self._end.fileno()

    def order(self, order: Order) -> None:
        with contextlib.suppress(OSError):  # it is gone, or does not listen: it will be killed
            self._end.send(order.value)

    def hear(self) -> list[Listening | Failed] | None:
        """What the worker has said since; ``None`` when it will say nothing more."""
        try:
            data = _received(self._end)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._heard = (self._heard + data).split(b"\n")
        return [_parsed(json.loads(line)) for line in lines]

    def close(self) -> None:
        self._end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(_CHUNK)
    except ConnectionError:  # an end of file, from one that has left something unread
        return b""


def _parsed(word: dict[str, str]) -> Listening | Failed:
    if "listening" in word:
        return Listening(word["listening"])
    return Failed(word["failed"])
