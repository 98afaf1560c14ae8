"""Peers on Node: ``server.js`` and ``package.json`` in the peer's folder, packages in the cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.cache import cached, make
from bench.peer import Peer, lacks, request
from bench.process import Running, spawn


class NodePeer(Peer):
    """Its program sends what is posted to everybody.

    :cvar packages: those whose versions matter.
    """

    channels = False
    packages: tuple[str, ...]

    def missing(self) -> str | None:
        return lacks("node") if self._place.exists() else lacks("node", "npm")

    def prepare(self) -> None:
        def install_into(folder: Path) -> None:
            shutil.copy(self._folder / "package.json", folder)
            quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
            # Its packages' own scripts could only compile what is shipped ready-made.
            command = ["npm", "install", "--ignore-scripts", *quiet]
            subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)

        make(self._place, install_into)

    def versions(self) -> dict[str, str]:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        found = {"node": node.stdout.strip().removeprefix("v")}
        for package in self.packages:
            about = self._place / "node_modules" / package / "package.json"
            found[package] = json.loads(about.read_text())["version"]
        return found

    def start(self, port: int, *, folder: Path) -> Running:
        return spawn(
            ["node", self._folder / "server.js", str(port)],
            port=port,
            folder=folder,
            env={"NODE_PATH": str(self._place / "node_modules"), "NODE_ENV": "production"},
        )

    def publish(self, channel: str, payload: bytes) -> bytes:
        return request("POST", "/", payload)

    @property
    def _folder(self) -> Path:
        return Path(__file__).parent / "peers" / self.name

    @property
    def _place(self) -> Path:
        return cached(self.name, (self._folder / "package.json").read_text())
