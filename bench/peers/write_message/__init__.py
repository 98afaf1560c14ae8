"""Tornado as its chat demo uses it: ``write_message`` in a loop."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import tornado

from bench.peer import Peer, Subscribing, request
from bench.process import Running, spawn


class WriteMessagePeer(Peer):
    name = "write_message"
    title = "write_message in a loop (Python, Tornado)"
    channels = False

    def missing(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {"tornado": tornado.version, "python": platform.python_version()}

    def start(self, port: int, *, folder: Path) -> Running:
        program = Path(__file__).parent / "server.py"
        return spawn([sys.executable, program, str(port)], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/ws")

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", "/publish", payload)


PEER = WriteMessagePeer()
