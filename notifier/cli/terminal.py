"""What commands print: answers on stdout, problems on stderr; colours on a terminal alone."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import click
from rich.console import Console
from rich.text import Text


class Exit(IntEnum):
    """The command's exit code."""

    OK = 0
    REFUSED = 1  # by the server; for `serve`, it could not start
    USAGE = 2  # the command line or a setting is wrong
    UNREACHABLE = 3  # no connection to the server


def say(*parts: str | tuple[str, str]) -> None:
    """Print one line to stdout; a part is text, or text and its style."""
    _print(parts, stderr=False)


def complain(*parts: str | tuple[str, str]) -> None:
    """Print one line to stderr."""
    _print(parts, stderr=True)


def fail(code: Exit, sentence: str, details: Iterable[str] = ()) -> click.exceptions.Exit:
    """Say what went wrong; raise what this returns to end the command."""
    complain(("error", "bold red"), ": ", sentence)
    for detail in details:
        complain(("  " + detail, "dim"))
    return click.exceptions.Exit(code)


def _print(parts: tuple[str | tuple[str, str], ...], *, stderr: bool) -> None:
    # Made anew each time: it looks at the stream and at NO_COLOR, which tests and pipes change.
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    console.print(Text.assemble(*parts))
