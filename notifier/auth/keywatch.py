"""The keys of a file that may change while the server runs."""

from __future__ import annotations

import logging
import os

from notifier import logs
from notifier.auth.keyfile import KeyFile, KeyFileError, KeyFileUnreadable
from notifier.auth.keys import Keys

_log = logging.getLogger("notifier.auth")


class WatchedKeys:
    """What a file of keys holds, as of the last :meth:`look`.

    :raises KeyFileError: the file can't be used at the beginning; later that is only told.
    """

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._told: str | None = None
        # Before it is read: what changes in between is seen at the next look.
        self._stamp = self._look_at_it()
        self.keys = Keys(file.read())

    def look(self, *, again: bool = False) -> bool:
        """Read the file anew if it is another one, or has changed; costs a ``stat`` if not.

        What can't be used leaves the keys as they are, and is logged as an error, once.

        :param again: read it in any case, and tell again what is wrong with it.
        :returns: whether the keys were replaced.
        """
        stamp = self._look_at_it()
        if again:
            self._told = None
        elif stamp is not None and stamp == self._stamp:
            return False
        try:
            keys = Keys(self._file.read())
        except KeyFileError as error:
            # What it holds stays wrong until it changes; what the system refused may be let soon.
            self._stamp = None if isinstance(error, KeyFileUnreadable) else stamp
            if str(error) != self._told:
                self._told = str(error)
                logs.event(
                    _log, logging.ERROR, "keys.unusable", problem=str(error), kept=len(self.keys)
                )
            return False
        self._stamp, self._told, self.keys = stamp, None, keys
        logs.event(_log, logging.INFO, "keys.read", file=str(self._file.path), keys=len(keys))
        return True

    def _look_at_it(self) -> tuple[int, ...] | None:
        try:
            facts = os.stat(self._file.path)
        except OSError:
            return None
        # The mode too, where a chmod mends it within a tick of the file system's clock.
        times = facts.st_mtime_ns, facts.st_ctime_ns
        return (facts.st_dev, facts.st_ino, facts.st_mode, facts.st_size, *times)
