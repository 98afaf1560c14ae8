"""A shell command that is run for each notification."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notifier.client import Notification

FIELDS = (
    *("channel", "id", "time", "position", "title", "message", "priority", "tags", "click"),
    *("icon", "key", "data", "content_type", "expires"),
)
# The kernel takes 128 KiB per variable; the whole is on stdin.
_MAX_VARIABLE = 100_000
_FAREWELL = 5.0


async def run(command: str, n: Notification) -> int:
    """Run the command to its end; its exit code, negative for the signal that ended it.

    Cancelled, it ends the command, with all that the command has started and waits for.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_shell(
            command, stdin=asyncio.subprocess.PIPE, env=_environment(n), process_group=0
        )
    )
    try:
        # Shielded: cancelled while it starts, asyncio would kill the shell alone.
        process = await asyncio.shield(starting)
        await process.communicate(json.dumps(dict(n.raw), ensure_ascii=False).encode() + b"\n")
    except BaseException:
        await _end(await starting)
        raise
    assert process.returncode is not None
    return process.returncode


async def _end(process: asyncio.subprocess.Process) -> None:
    # A signal to the shell alone would leave what it waits for running.
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_FAREWELL):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """To its group, which has the number of the shell for as long as that is not waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _environment(n: Notification) -> dict[str, str]:
    """Ours, and a variable for each field that the notification has."""
    names = {field: f"NOTIFIER_{field.upper()}" for field in FIELDS}
    inherited = {k: v for k, v in os.environ.items() if k not in names.values()}
    values = {field: n.raw[field] for field in FIELDS if n.raw.get(field) is not None}
    return inherited | {names[field]: _text(field, value) for field, value in values.items()}


def _text(field: str, value: object) -> str:
    if field == "data":
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list):
        text = ",".join(map(str, value))
    else:
        text = str(value)
    # What ends a variable, and what is too long for one.
    return text.replace("\0", "").encode()[:_MAX_VARIABLE].decode(errors="ignore")
