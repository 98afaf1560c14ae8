"""The least Tornado can do: a ``RequestHandler`` that answers each request with a constant.

It takes what ``notifier`` takes, and answers with as many bytes; nobody can subscribe.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tornado

from bench.peer import Peer, Subscribing, request
from bench.process import Running, spawn


class EmptyHandlerPeer(Peer):
    name = "empty_handler"
    title = "an empty RequestHandler (Python, Tornado)"

    def missing(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {"tornado": tornado.version}

    def start(self, port: int, *, folder: Path) -> Running:
        server = Path(__file__).with_name("server.py")
        return spawn([sys.executable, server, str(port)], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        raise LookupError("nobody can subscribe here")

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", f"/notify/{channel}", payload, content_type="text/plain")


PEER = EmptyHandlerPeer()
