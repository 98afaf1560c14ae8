"""A server for the commands that ask one, and a command that keeps running."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests import warm

PATIENCE = 30.0  # less than what a client takes to doubt a silent connection


class Service:
    """A running server, asked by hand."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    def publish(self, channel: str, message: str, **fields: Any) -> dict[str, Any]:
        body = {"channel": channel, "message": message, **fields}
        answer: dict[str, Any] = self._ask("/notify", body)
        return answer

    def subscribers(self, channel: str) -> int:
        found = self._ask(f"/channels?pattern={channel}*", None)["channels"]
        return sum(one["subscribers"] for one in found if one["channel"] == channel)

    def wait_for_subscriber(self, channel: str) -> None:
        wait_until(lambda: self.subscribers(channel) > 0)
        # It is counted some turns of the server's loop before it is live: one more request takes as
        # many.
        self.subscribers(channel)

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def _ask(self, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(self.url + path, data, headers), timeout=PATIENCE) as answer:
            return json.loads(answer.read())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


class Running:
    """A command that runs until it is told to stop; ``out`` and ``err`` grow as it speaks."""

    def __init__(self, process: warm.Program, streams: dict[int, str]) -> None:
        self.process = process
        self._streams = streams
        self._said = {"out": b"", "err": b""}

    @property
    def out(self) -> str:
        self._read()
        return self._said["out"].decode()

    @property
    def err(self) -> str:
        self._read()
        return self._said["err"].decode()

    def _read(self) -> None:
        while self._streams:
            ready = select.select(list(self._streams), [], [], 0)[0]
            if not ready:
                return
            for descriptor in ready:
                try:
                    data = os.read(descriptor, 65536)
                except OSError:  # a terminal that nobody holds open any more
                    data = b""
                if not data:
                    del self._streams[descriptor]
                else:
                    self._said[self._streams[descriptor]] += data

    def until(self, condition: Callable[[Running], bool]) -> None:
        wait_until(lambda: condition(self))

    def lines(self) -> list[Any]:
        """What was printed with --json."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line[-1] == "\n"]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        def has_ended(running: Running) -> bool:
            running._read()  # who is not read waits, once a terminal or a pipe is full
            return running.process.poll() is not None

        self.until(has_ended)
        self._read()
        return self.process.returncode


Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Start:
    """Start ``notifier`` with arguments and let it run; with ``terminal``, on one of its own."""

    @contextmanager
    def start(
        *arguments: str, terminal: bool = False, stdin: int | None = None
    ) -> Iterator[Running]:
        variables = dict(environment)
        if terminal:
            del variables["NO_COLOR"]
            variables |= {"TERM": "xterm-256color"}
        leader, follower = pty.openpty() if terminal else (-1, -1)
        with warm.Program(
            *arguments,
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=follower if terminal else subprocess.PIPE,
            stderr=follower if terminal else subprocess.PIPE,
        ) as process:
            try:
                if terminal:
                    os.close(follower)
                    yield Running(process, {leader: "out"})
                else:
                    assert process.stdout is not None and process.stderr is not None
                    streams = {process.stdout.fileno(): "out", process.stderr.fileno(): "err"}
                    yield Running(process, streams)
            finally:
                process.kill()
                if terminal:
                    os.close(leader)

    return start
