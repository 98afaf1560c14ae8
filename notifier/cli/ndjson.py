"""Publishing many from a file or a pipe, and showing how it goes."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from notifier.cli import descriptors
from notifier.cli.asking import ask, failed, refusal_details
from notifier.cli.terminal import Exit, complain, fail, say
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client, Failure, Summary

_SHOWN = 20  # failures


def publish_lines(source: str, *, url: str, timeout: float, as_json: bool) -> None:
    """Publish each line of a file, or of stdin when it is ``-``; ends the command when some
    could not be published."""
    if source == "-":
        _publish(sys.stdin.fileno(), url=url, timeout=timeout, as_json=as_json)
        return
    try:
        descriptor = os.open(source, os.O_RDONLY)
    except OSError as error:
        raise click.BadParameter(f"{source}: {error.strerror}", param_hint="--ndjson") from None
    try:
        _publish(descriptor, url=url, timeout=timeout, as_json=as_json)
    finally:
        os.close(descriptor)


def _publish(descriptor: int, *, url: str, timeout: float, as_json: bool) -> None:
    from notifier.client import Interrupted, Summary

    summary = Summary()
    interrupted: Interrupted | None = None

    async def publish(client: Client) -> None:
        nonlocal summary, interrupted
        with _Bar(descriptor) as bar:

            def advance(so_far: Summary) -> None:
                nonlocal summary
                summary = so_far
                bar.show(so_far)

            lines = bar.watch(descriptors.read_lines(descriptor))
            try:
                await client.publish_many(lines, on_progress=advance)
            except Interrupted as problem:
                interrupted = problem

    try:
        ask(url, publish, timeout=timeout)
    finally:
        # Also when it was stopped: what is stored is stored.
        _report(summary, as_json)
    if interrupted is not None:
        cause = interrupted.__cause__
        if isinstance(cause, OSError | ValueError):
            raise fail(Exit.REFUSED, f"what was to be published can't be read: {cause}")
        raise failed(cause if isinstance(cause, Exception) else interrupted, url)
    if summary.failed:
        raise click.exceptions.Exit(Exit.REFUSED)


def _report(summary: Summary, as_json: bool) -> None:
    for failure in summary.failures[:_SHOWN]:
        _tell(failure)
    if summary.failed > _SHOWN:
        complain((f"  and {summary.failed - min(_SHOWN, len(summary.failures))} more", "dim"))
    if as_json:
        failures = [{"line": f.line, "error": f.error.describe()} for f in summary.failures]
        click.echo(json.dumps(asdict(summary) | {"failures": failures}, ensure_ascii=False))
        return
    repeated = f", {summary.repeated} repeated" if summary.repeated else ""
    failed_ = f", {summary.failed} failed" if summary.failed else ""
    mark = ("✗ ", "red") if summary.failed else ("✓ ", "green")
    say(mark, f"{summary.stored} stored{repeated}{failed_}", (f"  of {summary.lines}", "dim"))


def _tell(failure: Failure) -> None:
    details = refusal_details(failure.error.describe())[0]
    complain(
        (f"line {failure.line}", "bold red"),
        f": {escape(failure.error.message)}",
        (f"  {details}", "dim"),
    )


class _Bar:
    """On a terminal, how far it is; elsewhere nothing."""

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._total = found.st_size if stat.S_ISREG(found.st_mode) else None
        self._read = 0
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            *((BarColumn(), TaskProgressColumn()) if self._total else ()),
            TextColumn("{task.fields[lines]} lines"),
            TextColumn("{task.fields[rate]:.0f}/s", style="dim"),
            TextColumn("{task.fields[failures]}", style="red"),
            *((TimeRemainingColumn(),) if self._total else ()),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = TaskID(0)

    def __enter__(self) -> _Bar:
        self._progress.start()
        self._task = self._progress.add_task(
            "publishing", total=self._total, lines=0, rate=0.0, failures=""
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    async def watch(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The lines, counted in bytes as they are taken."""
        async for line in lines:
            self._read += len(line) + 1
            yield line

    def show(self, summary: Summary) -> None:
        elapsed = self._progress.tasks[0].elapsed or 0.0
        self._progress.update(
            self._task,
            completed=self._read,
            lines=f"{summary.lines:,}",
            rate=summary.lines / max(elapsed, 0.001),
            failures=f"{summary.failed} failed" if summary.failed else "",
        )
