"""A real server in a process of its own, for the browser to talk to."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests import warm

ROOT = Path(__file__).parents[2]
# Far above what anything here takes on a slow machine.
PATIENCE = 60.0


class Server:
    """`notifier serve` with more arguments; ready when the constructor returns."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self._process = warm.Program(
            *("serve", "--port", str(port), *arguments),
            cwd=ROOT,
            env=os.environ,
            stderr=subprocess.PIPE,
        )
        self.log: list[str] = []
        self.headers: dict[str, str] = {}  # with which it is published to
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(PATIENCE)
        found = [line for line in self.log if "server.listening" in line]
        if not found:
            self.kill()
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        [line] = found
        self.url = line.split("url=", 1)[1].split()[0].strip("\"'").rstrip("/")
        self.port = int(self.url.rsplit(":", 1)[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def notify(self, channel: str, /, **fields: Any) -> None:
        """Publishes with an HTTP POST, as any producer would."""
        body = json.dumps({"channel": channel, **fields}).encode()
        self._publish("POST", "/notify", body, "application/json")

    def notify_all(self, notifications: list[dict[str, Any]], /) -> None:
        """Publishes many in one POST; each names its channel."""
        self._publish("POST", "/notify", json.dumps(notifications).encode(), "application/json")

    def put(self, channel: str, content: bytes, content_type: str) -> None:
        """Publishes bytes."""
        self._publish("PUT", f"/notify/{channel}", content, content_type)

    def _publish(self, method: str, path: str, body: bytes, content_type: str) -> None:
        headers = {"Content-Type": content_type, **self.headers}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            response.read()

    def terminate(self) -> None:
        """Asks it to drain and leave; does not wait."""
        self._process.terminate()

    def wait(self) -> int:
        """Its exit status, once it has left."""
        status = self._process.wait(PATIENCE)
        self._close()
        return status

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join(PATIENCE)
        if self._process.stderr:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for read in self._process.stderr:
            line = read.decode()
            self.log.append(line)
            if "server.listening" in line:
                self._listening.set()
        self._listening.set()
