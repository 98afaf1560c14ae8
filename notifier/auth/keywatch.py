"""The keys of a file that may change while the server runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Generic, TypeVar

from notifier import logs
from notifier.auth.keyfile import KeyFileError, KeyFileUnreadable

_log = logging.getLogger("notifier.auth")


K = TypeVar("K", bound=Sized)


class WatchedKeys(Generic[K]):
    """What a file of keys holds, as of the last :meth:`look`.

    A file that can't be used, for whatever reason, changes nothing: it is cut short, or empty,
    while somebody writes it, and when the disk is full.

    :param read: reads the file; raises :class:`~notifier.auth.keyfile.KeyFileError`.
    :ivar problem: why it can't be used just now; ``None`` when it can.
    :raises KeyFileError: the file can't be used at the beginning; later that is only told.
    """

    def __init__(self, path: Path, read: Callable[[], K]) -> None:
        self._path = path
        self._read = read
        self.problem: str | None = None
        # As it looked when it was last found to be changing.
        self._seen: tuple[int, ...] | None = None
        # Before it is read: what changes in between is seen at the next look.
        self._stamp = self._look_at_it()
        self.keys = read()

    def look(self, *, again: bool = False) -> bool:
        """Read the file anew if it is another one, or has changed; costs a ``stat`` if not.

        One that is changed in place is read when two looks in a row have found it the same: before
        that it may not be whole. What can't be used leaves the keys as they are, and is logged as
        an error, once.

        :param again: read it in any case, and tell again what is wrong with it.
        :returns: whether the keys were replaced.
        """
        stamp = self._look_at_it()
        if again:
            self.problem = None
        elif stamp is not None:
            if stamp == self._stamp:
                return False
            if self._is_same_file(stamp) and stamp != self._seen:
                self._seen = stamp
                return False
        try:
            keys = self._read()
        except KeyFileError as error:
            # What it holds stays wrong until it changes; what the system refused may be let soon.
            self._stamp = None if isinstance(error, KeyFileUnreadable) else stamp
            if str(error) != self.problem:
                self.problem = str(error)
                logs.event(
                    _log, logging.ERROR, "keys.unusable", problem=str(error), kept=len(self.keys)
                )
            return False
        self._stamp, self.problem, self.keys = stamp, None, keys
        logs.event(_log, logging.INFO, "keys.read", file=str(self._path), keys=len(keys))
        return True

    def _is_same_file(self, stamp: tuple[int, ...]) -> bool:
        return self._stamp is not None and stamp[:2] == self._stamp[:2]

    def _look_at_it(self) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        # The mode too, where a chmod mends it within a tick of the file system's clock.
        times = facts.st_mtime_ns, facts.st_ctime_ns
        return (facts.st_dev, facts.st_ino, facts.st_mode, facts.st_size, *times)
