"""The floor: a loop of ``send()`` in C, built when it is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.cache import cached, make
from bench.peer import Peer, Subscribing, lacks, request
from bench.process import Running, spawn

_SOURCE = Path(__file__).parent / "floor.c"


class FloorPeer(Peer):
    """``floor.c``.

    :param options: ``--batch``: one ``send()`` for each socket and turn of its loop, instead of one
        for each message.
    """

    name = "floor"
    title = "send() in a loop (C)"
    channels = False

    def __init__(self, *options: str) -> None:
        self._options = options

    def missing(self) -> str | None:
        return lacks("cc")

    def prepare(self) -> None:
        def compile_into(folder: Path) -> None:
            subprocess.run(["cc", "-O2", "-o", folder / "floor", _SOURCE], check=True)

        make(self._place, compile_into)

    def versions(self) -> dict[str, str]:
        done = subprocess.run(
            ["cc", "-dumpfullversion"], capture_output=True, text=True, check=True
        )
        return {"cc": done.stdout.strip()}

    def start(self, port: int, *, folder: Path) -> Running:
        return spawn([self._place / "floor", str(port), *self._options], port=port, folder=folder)

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/")

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", "/", payload)

    def probe(self) -> None:
        return None  # it hangs up on what it does not know

    @property
    def _place(self) -> Path:
        return cached("floor", _SOURCE.read_text())


PEER = FloorPeer()
