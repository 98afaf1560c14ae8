"""The library ``websockets`` and its ``broadcast``."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from bench.peer import Peer, Subscribing, request
from bench.process import Running, spawn


class WebsocketsPeer(Peer):
    name = "websockets"
    title = "websockets.broadcast (Python, asyncio)"
    channels = False

    def missing(self) -> str | None:
        return None if importlib.util.find_spec("websockets") else "no websockets in this Python"

    def versions(self) -> dict[str, str]:
        found = {"websockets": version("websockets"), "python": platform.python_version()}
        if importlib.util.find_spec("uvloop"):
            found["uvloop"] = version("uvloop")
        return found

    def start(self, port: int, *, folder: Path) -> Running:
        program = Path(__file__).parent / "server.py"
        return spawn([sys.executable, program, str(port)], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/")

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", "/", payload)

    def probe(self) -> None:
        return None  # it hangs up on what it does not know


PEER = WebsocketsPeer()
