"""Programs for Node that print what they see, a line each, and are read as they run."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import PATIENCE


class Follower:
    """A Node program whose lines are read as they come."""

    def __init__(self, *command: str | Path) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("Node.js 18 or later is missing; install it with: apt-get install nodejs")
        self._process = subprocess.Popen(
            [node, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def until(self, kind: str, **members: Any) -> None:
        """Read on until something of this kind, with these members, has been seen."""
        if any(_fits(item, kind, members) for item in self.seen):
            return
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                pytest.fail(f"no {kind} with {members}, but: {self.seen[-20:]}")
            assert line.startswith("["), f"the program failed: {line}"
            name, detail = json.loads(line)
            self.seen.append((name, detail))
            if _fits((name, detail), kind, members):
                return

    def offsets(self, channel: str) -> list[int]:
        """Of all notifications of the channel so far, in the order they came."""
        messages = [detail for name, detail in self.seen if name == "message"]
        return [message["offset"] for message in messages if message["channel"] == channel]

    def kinds(self) -> set[str]:
        return {name for name, _ in self.seen}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


def _fits(item: tuple[str, dict[str, Any]], kind: str, members: dict[str, Any]) -> bool:
    return item[0] == kind and members.items() <= item[1].items()
