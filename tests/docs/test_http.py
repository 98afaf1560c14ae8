"""``docs/reference/http.md``: its routes are all there are, and its examples work."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from notifier.fields import FIELDS
from tests.docs.markdown import CHECKOUT, blocks, read
from tests.docs.test_errors import ENTRIES
from tests.handlers.serving import PATIENCE, request, serving
from tests.handlers.test_administration import LATER, site, token

PAGE = read("reference/http.md")
COMMANDS = [
    (block.heading, line)
    for block in blocks(PAGE)
    if block.language == "sh"
    for line in block.text.splitlines()
]
ERRORS = [
    (str(code), example[1])
    for code, entry in ENTRIES.items()
    if (example := re.search(r"\*\*Example\*\*: `(curl [^\n]+)`$", entry[4], flags=re.MULTILINE))
]


def shape(value: Any) -> Any:
    """What an example promises: its members, their kinds, and the first of what is many."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


async def run(command: str, *, port: int) -> bytes:
    """Run an example as it stands, but for the address."""
    assert "localhost:8888" in command
    command = command.replace("localhost:8888", f"localhost:{port}").replace("curl", "curl -sS", 1)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", command],
        cwd=CHECKOUT,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented() -> set[tuple[str, str]]:
    """The methods and paths that the headings promise."""
    found = set()
    for heading in re.findall(
        r"^## (`.+)$", PAGE + read("reference/events.md"), flags=re.MULTILINE
    ):
        *others, last = re.findall(r"`([^`]+)`", heading)
        method, _, path = last.rpartition(" ")
        path = re.sub(r"/connections/<id>", "/connections/{connection}", path)
        path = re.sub(r"<(\w+)>", r"{\1}", path)
        found |= {(method or "GET", path) for method in [*others, method]}
    return found


async def test_the_page_and_the_openapi_document_have_the_same_routes() -> None:
    async with serving() as server:
        told = (await request(server.port, "GET", "/openapi.json")).json["paths"]
    assert documented() == {
        (method.upper(), path) for path, methods in told.items() for method in methods
    }


def test_every_field_is_documented() -> None:
    table = PAGE.partition("### Fields of a notification")[2].partition("###")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == FIELDS


@pytest.mark.parametrize(("heading", "command"), COMMANDS, ids=[c[:60] for _, c in COMMANDS])
async def test_an_example_works(heading: str, command: str) -> None:
    async with serving() as server:
        if "/channels" in heading:
            await run("curl -d hi localhost:8888/notify/alerts", port=server.port)
        output = await run(command, port=server.port)
        if "static" in heading.lower() or heading == "`GET /`":
            assert output
            return
        if heading == "`GET /metrics`":
            assert b"notifier_build_info{" in output
            return
        answer = json.loads(output)
        assert "error" not in answer or "mesage" in command
        if heading.startswith("`GET /health"):
            assert answer == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/notify", '{"channel": "alerts", "message": "x"}'),
        ("POST", "/notify", '{"channels": ["alerts", "db1"], "message": "x"}'),
        ("GET", "/channels", ""),
        ("GET", "/channels/alerts", ""),
        ("GET", "/channels/alerts/history", ""),
        ("GET", "/channels/alerts/presence", ""),
        ("DELETE", "/channels/alerts/history", ""),
        ("GET", "/nodes", ""),
        ("DELETE", "/connections?user=42", ""),
        ("POST", "/revocations", '{"token_id": "a", "until": "2100-01-01T00:00:00Z"}'),
    ],
)
async def test_an_answer_is_shown_as_it_is(method: str, path: str, body: str) -> None:
    examples = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    async with serving() as server:
        await run("curl -d hi localhost:8888/notify/alerts", port=server.port)
        data = f"-d {shlex.quote(body)}" if body else ""
        output = await run(f"curl -X {method} {data} localhost:8888{path}", port=server.port)
    assert shape(json.loads(output)) in [shape(example) for example in examples]


async def test_connections_and_revocations_are_shown_as_they_are(tmp_path: Path) -> None:
    examples = [shape(json.loads(b.text)) for b in blocks(PAGE) if b.language == "json"]
    async with site(tmp_path) as made, made.enter(token()) as client:
        assert (await client.message())["type"] == "subscribed"
        await made.ask("POST", "/revocations", {"token_id": "a", "until": LATER})
        for path in ("/connections", "/revocations"):
            assert shape((await made.ask("GET", path)).json) in examples, path


async def test_the_answer_to_lines_is_shown_as_it_is() -> None:
    (command,) = [command for heading, command in COMMANDS if "x-ndjson" in command]
    examples = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    async with serving() as server:
        output = await run(command, port=server.port)
    assert shape(json.loads(output)) in [shape(example) for example in examples]


@pytest.mark.parametrize(("code", "command"), ERRORS, ids=[code for code, _ in ERRORS])
async def test_an_example_of_an_error_gives_that_error(code: str, command: str) -> None:
    async with serving() as server:
        answer = json.loads(await run(command, port=server.port))
    assert answer["error"]["code"] == int(code)
