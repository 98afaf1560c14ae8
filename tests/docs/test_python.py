"""``docs/reference/python.md``: every public name is there, and the examples run."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import notifier.client
from tests.docs.markdown import blocks, read
from tests.handlers.serving import PATIENCE, serving

PAGE = read("reference/python.md")
EXAMPLES = [block for block in blocks(PAGE) if block.language == "python"]
OUTSIDE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
SAID = " ".join(re.findall(r"`([^`]+)`", OUTSIDE))


def public(kind: type) -> set[str]:
    """What its users may use."""
    names = {name for name in vars(kind) if not name.startswith("_") and name != "of"}
    if dataclasses.is_dataclass(kind):
        names |= {field.name for field in dataclasses.fields(kind)}
    return names


@pytest.mark.parametrize("name", notifier.client.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    named: Any = getattr(notifier.client, name)
    assert re.search(rf"\b{name}\b", SAID), name
    assert inspect.getdoc(named)
    if inspect.isclass(named) and named is not notifier.client.NotifierError:
        for member in public(named):
            assert re.search(rf"\b{member}\b", SAID), f"{name}.{member}"


def test_every_argument_is_documented() -> None:
    client = notifier.client.Client
    functions = [notifier.client.connect, client.subscribe, client.publish, client.history]
    for function in [
        *functions,
        client.publish_many,
        client.channels,
        client.presence,
        client.nodes,
        client.connections,
        client.disconnect,
        client.disconnect_all,
        client.revoke,
    ]:
        for argument in inspect.signature(function).parameters:
            assert argument == "self" or re.search(rf"\b{argument}\b", SAID), argument


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.heading)
async def test_example_runs(
    example: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}"
        async with notifier.client.connect(url) as client:
            for channel in ("alerts", "builds:7"):
                await client.publish(channel, "m")
            text = example.text.replace("http://127.0.0.1:8888", url)
            code = compile(text, "python.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = asyncio.ensure_future(eval(code, {"client": client}))
            said = ""
            # Some go on for as long as there is something: they have run when they said something.
            async with asyncio.timeout(PATIENCE):
                while not running.done() and not said:
                    await asyncio.sleep(0.05)
                    said += capsys.readouterr().out
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled() or running.exception() is None, running.exception()
            assert said or capsys.readouterr().out
