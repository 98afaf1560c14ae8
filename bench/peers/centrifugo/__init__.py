"""Centrifugo, built from its Go module."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cache import cached, make
from bench.peer import Peer, Subscribing, lacks, request
from bench.process import Running, spawn

_MODULE = "github.com/centrifugal/centrifugo/v6@v6.9.1"
_NEEDS_GO = (1, 26)


class CentrifugoPeer(Peer):
    name = "centrifugo"
    title = "Centrifugo (Go)"

    def missing(self) -> str | None:
        if self.built:
            return None
        if reason := lacks("go"):
            return reason
        found = re.search(r"go(\d+)\.(\d+)", _said("go", "version"))
        if found is None or (int(found[1]), int(found[2])) < _NEEDS_GO:
            return "no go {}.{}".format(*_NEEDS_GO)
        return None

    def prepare(self) -> None:
        def install_into(folder: Path) -> None:
            environment = {**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "local"}
            # Niced: it takes minutes and both cores.
            command = ["nice", "go", "install", "-trimpath", "-ldflags=-s -w", _MODULE]
            subprocess.run(command, env=environment, check=True, stdout=sys.stderr)

        make(self._place, install_into)

    @property
    def built(self) -> bool:
        """Whether :meth:`prepare` has been at work."""
        return self._place.exists()

    def versions(self) -> dict[str, str]:
        # Its own command says 0.0.0: releases are told their number by the linker.
        return {"centrifugo": _MODULE.rpartition("@v")[2]}

    def start(self, port: int, *, folder: Path) -> Running:
        configuration = Path(__file__).parent / "config.yaml"
        return spawn(
            [self._program, "--config", configuration],
            port=port,
            folder=folder,
            env={"CENTRIFUGO_HTTP_SERVER_PORT": str(port)},
        )

    def subscribing(self, *channels: str) -> Subscribing:
        commands: list[dict[str, object]] = [{"id": 1, "connect": {}}]
        for number, channel in enumerate(channels, 2):
            commands.append({"id": number, "subscribe": {"channel": channel}})
        return Subscribing(
            "/connection/websocket",
            hello=tuple(json.dumps(command).encode() for command in commands),
            ready=b'"subscribe":{',
            ready_count=len(channels),
        )

    def publish(self, channel: str, payload: bytes) -> bytes:
        return _call("publish", _publication(channel, payload))

    def publish_many(self, channel: str, payloads: Sequence[bytes]) -> bytes:
        commands = [{"publish": _publication(channel, payload)} for payload in payloads]
        return _call("batch", {"commands": commands})

    @property
    def _place(self) -> Path:
        return cached("centrifugo", _MODULE)

    @property
    def _program(self) -> Path:
        return self._place / "centrifugo"


def _publication(channel: str, payload: bytes) -> dict[str, str]:
    return {"channel": channel, "data": payload.decode()}


def _call(method: str, parameters: object) -> bytes:
    """A call of its HTTP API."""
    body = json.dumps(parameters).encode()
    return request("POST", f"/api/{method}", body, content_type="application/json")


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


PEER = CentrifugoPeer()
