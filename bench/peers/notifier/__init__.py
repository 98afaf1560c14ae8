"""notifier itself, as any other peer."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import tornado

import notifier
from bench.peer import Peer, Subscribing, request
from bench.process import Running, spawn


class NotifierPeer(Peer):
    """``notifier serve`` and its native protocol.

    :param options: of ``notifier serve``, beside the port.
    :param credential: what a publisher shows, if it shows any.
    """

    name = "notifier"
    title = "notifier (Python, Tornado)"

    def __init__(self, *options: str, credential: str = "") -> None:
        self._options = options
        self._headers = {"authorization": f"Bearer {credential}"} if credential else {}

    def missing(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        python = ".".join(map(str, sys.version_info[:3]))
        return {"notifier": notifier.__version__, "tornado": tornado.version, "python": python}

    def start(self, port: int, *, folder: Path) -> Running:
        command = [sys.executable, "-m", "notifier", "serve", "--port", str(port)]
        # All of the load comes from one address.
        unlimited = ("max-connections-per-address", "max-new-connections-per-second")
        command += [part for name in unlimited for part in (f"--{name}", "0")]
        command += ["--max-commands-per-second", "0"]
        limits = ["--max-connections", "18000", "--log-level", "warning"]
        return spawn([*command, *limits, *self._options], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        wanted = urlencode([("channel", channel) for channel in channels])
        return Subscribing(
            f"/ws?{wanted}", ready=b'{"type":"subscribed"', ready_count=len(channels)
        )

    def publish(self, channel: str, payload: bytes) -> bytes:
        path = f"/notify/{quote(channel)}"
        return request("POST", path, payload, content_type="text/plain", **self._headers)

    def publish_many(self, channel: str, payloads: Sequence[bytes]) -> bytes:
        lines = [json.dumps({"channel": channel, "message": p.decode()}) for p in payloads]
        body = "".join(line + "\n" for line in lines).encode()
        kind = "application/x-ndjson"
        return request("POST", "/notify", body, content_type=kind, **self._headers)

    def probe(self) -> bytes:
        return request("GET", "/health/live", b"")


PEER = NotifierPeer()
