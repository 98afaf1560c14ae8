"""Schemathesis asks a running server all that its OpenAPI document lets one ask, and more.

The answers must be such as the document says, to the last member, and none may be a 5xx.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.notification import Notification
from notifier.server import Server
from tests.handlers.serving import faults, request, serving

# Answers without an end; of the second there is one, which is asked for below.
ENDLESS = ("/events", "/stream")
CONFIG = """
# Rules of channels, links and positions can't be said in a schema.
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.expected-statuses = [
    "400", "401", "403", "404", "405", "409", "413", "415", "421", "426", "431"
]
"""
# With its own members, besides those described.
OPEN_ENDED = {"Publication", "Refusal"}
SECONDS = 120.0


async def told(server: Server) -> dict[str, Any]:
    """The document, made so strict that an answer may have no member it does not name."""
    answer = await request(server.port, "GET", "/openapi.json")
    document: dict[str, Any] = answer.json
    for name, schema in document["components"]["schemas"].items():
        if name not in OPEN_ENDED and not name.endswith("Error"):
            schema["additionalProperties"] = False
    return document


async def explore(
    server: Server, document: dict[str, Any], folder: Path, *options: str, key: str = ""
) -> str:
    """What schemathesis has to say; nothing where it found nothing."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(CONFIG)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", "openapi.json",
        "--url", f"http://127.0.0.1:{server.port}",
        "--generation-deterministic", "--request-timeout", "20", "--no-color",
        *(("-H", f"Authorization: Bearer {key}") if key else ()),
        *options,
    ]  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, timeout=SECONDS, check=False
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()


async def fill(server: Server) -> None:
    """Something to be read."""
    for channel in ("alerts", "builds:main"):
        for number in range(3):
            there = Notification.parse({"message": str(number), "priority": 4, "key": "k"})
            await server.node.publish(there, channel, producer="")


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with a key"])
async def test_answers_are_as_described(
    guarded: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more: dict[str, Any] = {}
    key = ""
    # The many requests of its coverage are the same with a key.
    phases = "examples,coverage,fuzzing"
    if guarded:
        file = KeyFile(tmp_path / "keys.toml")
        made, key = make_key(
            "all", scopes=set(Scope), channels=Reach.of(["*"]), created=time.time()
        )  # fmt: skip
        file.add(made)
        more = {"keys_file": str(file.path)}
        phases = "examples,fuzzing"
    async with serving(presence=True, **more) as server:
        await fill(server)
        document = await told(server)
        without = [option for path in ENDLESS for option in ("--exclude-path", path)]
        found = await explore(
            server, document, tmp_path, *without, "--phases", phases, "--max-examples", "12",
            # The same as POST, with four hundred parameters to be tried.
            "--exclude-operation-id", "put_to_channel",
            key=key,
        )  # fmt: skip
        assert found == ""
    assert faults(caplog) == []


async def test_polls_are_as_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The one stream that has an end, asked for as it should be."""
    async with serving(presence=True) as server:
        await fill(server)
        document = await told(server)
        for parameter in document["paths"]["/stream"]["get"]["parameters"]:
            match parameter["name"]:
                case "poll":
                    parameter |= {"required": True, "schema": {"enum": ["1"]}}
                case "presence":
                    parameter["schema"] = {"enum": ["0"]}
        found = await explore(
            server, document, tmp_path, "--include-path", "/stream", "--mode", "positive",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "30",
        )  # fmt: skip
        assert found == ""
    assert faults(caplog) == []


async def test_it_finds_what_is_not_as_described(tmp_path: Path) -> None:
    """Else nothing above would mean anything."""
    async with serving() as server:
        document = await told(server)
        healthy = document["components"]["schemas"]["Healthy"]
        healthy |= {"properties": {"state": {}}, "required": []}
        found = await explore(
            server, document, tmp_path, "--include-path", "/health/live", "--max-examples", "1"
        )
    assert "Response violates schema" in found
