"""What commands print: answers on stdout, problems on stderr; colours on a terminal alone."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 1000  # characters of a table that is not for a terminal


class Exit(IntEnum):
    """The command's exit code."""

    OK = 0
    REFUSED = 1  # by the server; for `serve`, it could not start
    USAGE = 2  # the command line or a setting is wrong
    UNREACHABLE = 3  # no connection to the server


def say(*parts: str | tuple[str, str]) -> None:
    """Print one line to stdout; a part is text, or text and its style."""
    _print(parts, stderr=False)


def say_text(text: Text) -> None:
    """Print text to stdout; it brings its line ends."""
    _console(stderr=False).print(text, end="")


def say_table(table: Table) -> None:
    """Print a table to stdout: as wide as it is, whatever the terminal."""
    console = _console(stderr=False)
    if not console.is_terminal:
        console.width = _WIDEST
    console.print(table)


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
    _console(stderr=stderr).print(Text.assemble(*parts))


def _console(*, stderr: bool) -> Console:
    # Made anew each time: it looks at the stream and at NO_COLOR, which tests and pipes change.
    return Console(stderr=stderr, highlight=False, soft_wrap=True)
