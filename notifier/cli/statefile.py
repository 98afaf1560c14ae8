"""Where a subscription was left, kept in a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from pathlib import Path

_MAX_BYTES = 16 * 1024 * 1024  # more than the token of any number of channels there may be


class BadState(Exception):
    """The file holds something else."""


class StateFile:
    """A resume token in a file, replaced as a whole: after a crash it is the old or the new one.

    :param pause: seconds between two writes; what comes in between is written together. 0: each
        is on the disk when :meth:`save` returns.
    """

    def __init__(self, path: Path, *, pause: float) -> None:
        self._path = path
        self._pause = pause
        self._written: str | None = None
        self._token: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: asyncio.Event = asyncio.Event()
        self._error: OSError | None = None

    def check(self) -> None:
        """See whether it can be written, while nothing has come of it yet.

        :raises OSError: it can't.
        """
        if self._written is not None:
            self._replace(self._written)
        else:
            descriptor, name = self._beside()
            try:
                os.write(descriptor, b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                os.unlink(name)

    def load(self) -> str | None:
        """The token; None if there is no file yet.

        :raises BadState: it holds something else.
        :raises OSError: it can't be read.
        """
        # Late, since it brings Tornado.
        from notifier.client.positions import Token

        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_BYTES).decode().removesuffix("\n")
            Token.parse(text)
        except FileNotFoundError:
            return None
        except ValueError:
            raise BadState(
                f"{self._path} holds no resume token; to begin anew, delete it"
            ) from None
        self._written = text
        return text

    def save(self, token: str | None) -> None:
        """Remember the token, soon.

        :raises OSError: it could not be written, now or the last time.
        """
        if self._error is not None:
            raise self._error
        if token is None or token == self._written:
            return
        self._token = token
        if self._pause == 0:
            self._write()
        elif self._timer is None:
            # The first at once, and then one for all that come within the pause.
            self._write()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._later)

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._token not in (None, self._written):
            self._write()

    def _later(self) -> None:
        self._timer = None
        try:
            self.save(self._token)
        except OSError as error:
            self._error = error
            self._failed.set()

    async def until_failed(self) -> None:
        """Wait for a write that comes later, and fails.

        :raises OSError: it did.
        """
        await self._failed.wait()
        assert self._error is not None
        raise self._error

    def _write(self) -> None:
        assert self._token is not None
        self._replace(self._token)
        self._written = self._token

    def _replace(self, text: str) -> None:
        descriptor, name = self._beside()
        path = self._real
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        # The name's change as well is to outlive a loss of power.
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _beside(self) -> tuple[int, str]:
        """A new file that can take its place, open, and what it is called."""
        path = self._real
        return tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)

    @property
    def _real(self) -> Path:
        """The file itself, where ours is a link to it."""
        return Path(os.path.realpath(self._path))
