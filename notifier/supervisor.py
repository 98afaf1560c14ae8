"""The supervisor: several workers on one port, started, watched and ended together.

Each is a whole node with a listening socket of its own, between which the kernel spreads the
connections (SO_REUSEPORT, socket(7)). The supervisor carries no traffic; while all is well it
sleeps.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from notifier import logs
from notifier.lifeline import Lifeline, Order
from notifier.worker import Worker

log = logging.getLogger("notifier.supervisor")

# A worker that lived so long is started again at once when it falls; for one that did not, the
# pause doubles each time.
STEADY_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# Enough for the farewells of a drain and the broker's; a worker that needs more hangs.
MARGIN_SECONDS = 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class NoneStarted(Exception):
    """No worker has ever got to listen. Its sentence is for who starts the server."""


@dataclass(slots=True)
class _Post:
    """A worker's place: who holds it, and when it is filled again if nobody does.

    :ivar failures: lives in a row that were short.
    :ivar due: ``None``: not yet known.
    """

    number: int
    worker: Worker | None = None
    failures: int = 0
    due: float | None = None


class Supervisor:
    """Keeps ``count`` workers at work until it is told to stop.

    :param work: what a worker does, in a process of its own; see :class:`Worker`.
    :param drain_seconds: how long clients of a worker that drains have to leave.
    :param margin_seconds: what a worker may take to end beyond that, before it is killed.
    :param on_ready: told the URL when all of them serve for the first time.
    """

    def __init__(
        self,
        work: Callable[[Lifeline], int],
        count: int,
        *,
        drain_seconds: float,
        margin_seconds: float = MARGIN_SECONDS,
        on_ready: Callable[[str], None],
    ) -> None:
        self._work = work
        self._posts = [_Post(number, due=0.0) for number in range(1, count + 1)]
        self._drain_seconds = drain_seconds
        self._margin_seconds = margin_seconds
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakeup = socket.socketpair()
        self._listened = False
        self._ready = False
        self._draining = False
        self._kill_at: float | None = None
        self._failure = ""
        self._status = 0

    def run(self) -> int:
        """Work until SIGTERM or SIGINT, then drain; a second signal stops at once.

        :return: the exit status: 0 when every worker has ended as it should.
        :raises NoneStarted: all have ended before any of them listened.
        """
        with self._signals():
            while True:
                self._fill()
                if not self._workers() and not self._pauses():
                    break
                for key, _ in self._selector.select(self._patience()):
                    key.data()
                self._reap()
                self._kill_late()
        if not self._listened and not self._draining:
            raise NoneStarted(self._failure)
        logs.event(log, logging.INFO, "supervisor.stopped", status=self._status)
        return self._status

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals wake the selector."""
        for end in (self._woken, self._wakeup):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._signalled)
        handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wakeup.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._release()

    def _release(self) -> None:
        """Close all that is the supervisor's own."""
        self._selector.close()
        self._woken.close()
        self._wakeup.close()
        for worker in self._workers():
            worker.leash.close()

    def _workers(self) -> list[Worker]:
        return [post.worker for post in self._posts if post.worker is not None]

    def _pauses(self) -> list[float]:
        """When the empty posts are due."""
        if self._draining:
            return []
        return [post.due for post in self._posts if post.worker is None and post.due is not None]

    def _patience(self) -> float | None:
        """Seconds until there is something to do by itself."""
        times = self._pauses()
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _fill(self) -> None:
        """Start a worker on each empty post that is due."""
        for post in self._posts:
            if self._draining or post.worker is not None:
                continue
            if post.due is None or post.due > time.monotonic():
                continue
            try:
                worker = post.worker = Worker(post.number, self._work, self._release)
            except OSError as error:
                self._failure = f"there can't be another process: {error.strerror or error}"
                logs.event(log, logging.ERROR, "worker.failed", worker=post.number, reason=error)
                self._vacate(post, lived=0.0)
                continue
            self._selector.register(
                worker.leash, selectors.EVENT_READ, lambda post=post: self._hear(post)
            )
            logs.event(log, logging.INFO, "worker.started", worker=post.number, pid=worker.pid)

    def _hear(self, post: _Post) -> None:
        """What a worker has said."""
        worker = post.worker
        if worker is None:
            return
        if not worker.hear():
            # Its end follows; until then the end of file would be reported again and again.
            self._forget(worker)
        if not worker.url:
            return
        if not self._listened:
            self._listened = True
            # It can be done, so the others are worth another try.
            for other in self._posts:
                if other.worker is None:
                    other.due = time.monotonic() + FIRST_PAUSE_SECONDS
        if not self._ready and all(w and w.url for w in (p.worker for p in self._posts)):
            self._ready = True
            logs.event(
                log, logging.INFO, "supervisor.ready", workers=len(self._posts), url=worker.url
            )
            self._on_ready(worker.url)

    def _reap(self) -> None:
        """See who has ended."""
        for post in self._posts:
            worker = post.worker
            if worker is None or (status := worker.ended()) is None:
                continue
            # Its last words may not have been read.
            self._hear(post)
            self._forget(worker)
            worker.leash.close()
            post.worker = None
            self._account(post, worker, status)

    def _forget(self, worker: Worker) -> None:
        with contextlib.suppress(KeyError):  # it was before
            self._selector.unregister(worker.leash)

    def _account(self, post: _Post, worker: Worker, status: int) -> None:
        """Say how a worker ended, and what follows from it."""
        facts: dict[str, Any] = {"status": status}
        how = f"ended with status {status}"
        if status < 0:
            facts = {"signal": _signal_name(-status)}
            how = f"was ended by {facts['signal']}"
        if worker.failure:
            facts["reason"] = worker.failure
        self._failure = worker.failure or f"worker {worker.number} {how} before it listened"
        if self._draining and status:
            self._status = 1
        seconds = self._vacate(post, lived=time.monotonic() - worker.started)
        if seconds is not None and not self._draining:
            facts["restart_in"] = seconds
        level = logging.INFO if status == 0 else logging.WARNING
        logs.event(log, level, "worker.ended", worker=worker.number, pid=worker.pid, **facts)

    def _vacate(self, post: _Post, lived: float) -> float | None:
        """Settle when the post is filled again: in so many seconds, or ``None``: not yet known."""
        post.failures = 0 if lived >= STEADY_SECONDS else post.failures + 1
        if not self._listened:
            # It is not known whether anybody ever can: rather than try without end, see what
            # becomes of the others.
            post.due = None
            return None
        seconds = pause(post.failures)
        post.due = time.monotonic() + seconds
        return seconds

    def _signalled(self) -> None:
        for number in self._woken.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP:
                # Also from a terminal that was closed: no reason to send clients away.
                self._reload()

    def _reload(self) -> None:
        """Have the workers read again what may be replaced while they run."""
        logs.event(log, logging.INFO, "supervisor.reloading", workers=len(self._workers()))
        for worker in self._workers():
            worker.order(Order.RELOAD)

    def _stop(self) -> None:
        """Have the workers drain; at the second time, stop."""
        order = Order.STOP if self._draining else Order.DRAIN
        seconds = self._margin_seconds + (0.0 if self._draining else self._drain_seconds)
        self._draining = True
        deadline = time.monotonic() + seconds
        self._kill_at = min(self._kill_at or deadline, deadline)
        logs.event(
            log,
            logging.INFO,
            "supervisor.stopping" if order is Order.STOP else "supervisor.draining",
            workers=len(self._workers()),
        )
        for worker in self._workers():
            worker.order(order)

    def _kill_late(self) -> None:
        """End those whose time to end by themselves is over."""
        if self._kill_at is None or time.monotonic() < self._kill_at:
            return
        self._kill_at = None
        for worker in self._workers():
            logs.event(log, logging.ERROR, "worker.late", worker=worker.number, pid=worker.pid)
            worker.kill()


def pause(failures: int) -> float:
    """Seconds before a worker is started again that fell young so many times in a row."""
    if failures == 0:
        return 0.0
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"signal {number}"


def cores() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
