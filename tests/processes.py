"""``notifier serve`` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import warm
from tests.handlers.serving import CHECKOUT, PATIENCE, Answer, request

_STARTING = 60.0
_SHOWN = 8000


class Process:
    """A node, from its start on; whoever makes one calls :meth:`end`.

    :param name: what its log is called in a test's report.
    """

    def __init__(self, *arguments: str, name: str = "notifier serve") -> None:
        self.name = name
        self.port = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process is
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NOTIFIER_")}
        self._process = warm.Program(
            *("serve", "--port", "0", *arguments),
            cwd=CHECKOUT,
            env=environment | {"NO_COLOR": "1"},
            # Not a pipe: nobody would empty it, and a full one stops who writes.
            stderr=self._log,
        )

    def wait_until_listening(self) -> None:
        """Wait for its greeting.

        :raises AssertionError: it ended instead; what it said is in it.
        """
        end = time.monotonic() + _STARTING
        while (found := re.search(r"server\.listening.*:(\d+)", self.log)) is None:
            gone = self._process.poll() is not None
            if gone or time.monotonic() > end:
                raise AssertionError("the server did not start:\n" + self.log)
            time.sleep(0.01)
        self.port = int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has said so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """With SIGKILL: no word to anybody."""
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """With SIGTERM: it drains."""
        self.signal(signal.SIGTERM)

    def memory(self) -> int:
        """Bytes of it that are in memory (proc(5), VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    async def get(self, path: str) -> Answer:
        return await request(self.port, "GET", path)

    async def post(self, path: str, body: Any) -> Answer:
        """Send JSON."""
        headers = {"Content-Type": "application/json"}
        return await request(
            self.port, "POST", path, body=json.dumps(body).encode(), headers=headers
        )

    async def not_ready(self) -> str | None:
        """Why the node is not ready; ``None`` when it is."""
        answer = await self.get("/health/ready")
        if answer.status == 200:
            return None
        assert answer.status == 503, answer
        return str(answer.json["reason"])

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self._process.wait, PATIENCE)

    def end(self) -> None:
        """Kill it if it still runs, and leave its log to pytest, which shows it on failure."""
        self._process.kill()
        self._process.wait()
        sys.stderr.write(f"--- {self.name}, {self.url} ---\n{self.log[-_SHOWN:]}\n")
        self._log.close()


@contextmanager
def server_process(*arguments: str) -> Iterator[Process]:
    """One that listens."""
    process = Process(*arguments)
    try:
        process.wait_until_listening()
        yield process
    finally:
        process.end()
