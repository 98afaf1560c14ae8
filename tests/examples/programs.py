"""The examples as their reader runs them: processes whose lines are read."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import pytest

from tests.handlers.serving import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
# A deadlock, not slowness.
PATIENCE = 30.0


def required(command: str, package: str) -> str:
    """The command's path; without it the test fails and says how to get it."""
    path = shutil.which(command)
    if path is None:
        pytest.fail(f"{command} is missing; install it with: apt-get install {package}")
    return path


def environment(port: int, *, commands: Path | None = None) -> dict[str, str]:
    """For programs of the examples: where the server is, and a ``notifier`` command."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("NOTIFIER_")}
    kept |= {"PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1"}
    kept |= {"NOTIFIER_URL": f"http://localhost:{port}"}
    if commands is not None:
        kept["PATH"] = f"{commands}{os.pathsep}{kept['PATH']}"
    return kept


def notifier_command(folder: Path) -> Path:
    """Put the command ``notifier`` into the folder: this checkout's, by this Python."""
    folder.mkdir(exist_ok=True)
    script = folder / "notifier"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m notifier "$@"\n')
    script.chmod(0o755)
    return folder


def notify(port: int, channel: str, **fields: object) -> None:
    body = json.dumps({"channel": channel, **fields}).encode()
    with urlopen(Request(f"http://localhost:{port}/notify", body), timeout=PATIENCE) as answer:
        assert answer.status == 200


def history(port: int, channel: str) -> list[dict[str, Any]]:
    with urlopen(f"http://localhost:{port}/channels/{channel}/history", timeout=PATIENCE) as page:
        publications: list[dict[str, Any]] = json.load(page)["publications"]
    return publications


class Program:
    """A running example. ``out`` and ``err`` hold the lines that were not read yet."""

    def __init__(self, *command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out: queue.Queue[str] = queue.Queue()
        self.err: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=_read, args=pair)
            for pair in ((self._process.stdout, self.out), (self._process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def line(self) -> str:
        """The next line it prints."""
        return self.out.get(timeout=PATIENCE)

    def note(self, start: str) -> str:
        """The next line on stderr that begins so; others are passed over."""
        until = time.monotonic() + PATIENCE
        seen = []
        while time.monotonic() < until:
            with suppress(queue.Empty):
                seen.append(self.err.get(timeout=1))
                if seen[-1].startswith(start):
                    return seen[-1]
        raise AssertionError(f"no line begins with {start!r}: {seen}")

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end_of_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def exit_code(self) -> int:
        """Wait for its end; all it has printed is there then."""
        code = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


def until(condition: Callable[[], object], program: Program | None = None) -> None:
    """Wait for what happens silently; where it is a program's affair, its errors are told."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, program and list(program.err.queue)
        time.sleep(0.02)


def _read(pipe: Iterator[str], lines: queue.Queue[str]) -> None:
    for line in pipe:
        lines.put(line.rstrip("\n"))
