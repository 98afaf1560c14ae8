"""``notifier`` in a process of its own, forked from one that has the libraries already.

A start from nothing takes a third to half a second of CPU, nearly all of it for libraries, and the
tests start hundreds. From :mod:`tests.nursery` on it is the same: modules of ours are imported by
each, in its own environment and directory. A start from nothing is what tests/cli/test_serve.py,
tests/test_wheel.py and the examples begin with.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from types import TracebackType
from typing import IO, Self

CHECKOUT = Path(__file__).parent.parent


@cache
def _nursery() -> socket.socket:
    """The way to it; one for each process of pytest, with which it ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(nursery.wait)
    atexit.register(ours.close)  # the first of the two
    return ours


class Program:
    """What :class:`subprocess.Popen` is of a program that was started from nothing.

    :param stdin: a descriptor, or ``DEVNULL``.
    :param stdout: a file, a descriptor, ``PIPE`` or ``DEVNULL``, as ``stderr``.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        told, telling = os.pipe()
        self._told = open(told, "rb", buffering=0)  # noqa: SIM115 -- until it has ended
        with ExitStack() as theirs:
            given: list[int] = []
            for stream in (stdin, stdout, stderr, telling):
                if stream == subprocess.PIPE:
                    ours, stream = os.pipe()
                    name = "stderr" if len(given) == 2 else "stdout"
                    setattr(self, name, open(ours, "rb"))  # noqa: SIM115 -- its reader's
                    theirs.callback(os.close, stream)
                elif stream == subprocess.DEVNULL:
                    stream = os.open(os.devnull, os.O_RDWR)
                    theirs.callback(os.close, stream)
                given.append(stream if isinstance(stream, int) else stream.fileno())
            theirs.callback(os.close, telling)
            asked = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)})
            socket.send_fds(_nursery(), [asked.encode()], given)
        self.pid = self._number()

    def _number(self) -> int:
        line = self._told.readline()
        assert line, "the nursery has ended"
        return int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that ended it; ``None`` while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """As :meth:`poll`, once it has ended.

        :raises subprocess.TimeoutExpired: it has not, after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("notifier", timeout or 0)
            self.returncode = self._number()
            self._told.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str], stdin: bytes | None = None, timeout: float
) -> subprocess.CompletedProcess[str]:
    """What :func:`subprocess.run` is: run it to its end; what it said, in UTF-8.

    :param stdin: comes through a pipe.
    """
    with TemporaryFile() as out, TemporaryFile() as err, ExitStack() as stack:
        source = subprocess.DEVNULL
        if stdin is not None:
            source, writing = os.pipe()
            feeding = Thread(target=_feed, args=(writing, stdin))
            feeding.start()
            stack.callback(feeding.join)
        try:
            program = Program(*arguments, cwd=cwd, env=env, stdin=source, stdout=out, stderr=err)
        finally:
            if stdin is not None:
                os.close(source)
        try:
            program.wait(timeout)
        finally:
            program.kill()
            status = program.wait()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
        return subprocess.CompletedProcess(arguments, status, *said)


def _feed(pipe: int, data: bytes) -> None:
    # Who has read enough ends; closing fails as writing did.
    with suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as end:
        view = memoryview(data)
        while view:
            view = view[end.write(view) :]
