"""One worker process, as its supervisor sees it: from its fork to its end.

Workers are forked, not started as new programs. The supervisor has neither threads nor an event
loop, so that a copy of it is whole; its settings are read already; a worker is there in
milliseconds, shares the memory of the code with the others, and runs the same code as they do,
also when the installed files were replaced in the meantime. How the supervisor was started, as
``notifier`` or ``python -m notifier``, makes no difference.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from notifier import logs
from notifier.lifeline import Failed, Leash, Lifeline, Listening, Order

log = logging.getLogger("notifier.worker")


class Worker:
    """A process that does ``work``; its exit status is what that returns.

    ``work`` is begun with SIGINT and SIGHUP ignored, and SIGTERM ending the process with status 0
    until the :class:`Lifeline` is attended.

    :param release: called in the new process first, to close what is the supervisor's own.
    :raises OSError: there can't be another process.

    :ivar url: where it serves; empty until it does.
    :ivar failure: why it can't, in a sentence; empty if it has not said so.
    """

    def __init__(
        self, number: int, work: Callable[[Lifeline], int], release: Callable[[], None]
    ) -> None:
        self.number = number
        self.url = ""
        self.failure = ""
        self.started = time.monotonic()
        ours, theirs = socket.socketpair()
        # What is buffered would be written twice.
        sys.stdout.flush()
        sys.stderr.flush()
        # Between fork and its own handlers the child would take signals for the supervisor.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                ours.close()
                _live(work, Lifeline(number, theirs), release, mask)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.leash = Leash(ours)

    def order(self, order: Order) -> None:
        self.leash.order(order)

    def hear(self) -> bool:
        """Take in what it has said since; whether it may say more."""
        words = self.leash.hear()
        for word in words or ():
            match word:
                case Listening(url):
                    self.url = url
                case Failed(sentence):
                    self.failure = sentence
        return words is not None

    def ended(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it; ``None``: it runs.

        Asked once more after that, it raises :exc:`ChildProcessError`.
        """
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _live(
    work: Callable[[Lifeline], int],
    line: Lifeline,
    release: Callable[[], None],
    mask: set[int | signal.Signals],
) -> NoReturn:
    """The whole life of the new process. Nothing of the supervisor's stack is returned to."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        release()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # A terminal sends these to everybody; the supervisor is who acts on them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = work(line)
    except BaseException as error:  # noqa: BLE001 -- there is nobody above to see it
        logs.event(log, logging.ERROR, "worker.crashed", exc_info=error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
