"""Who a command says it is, to the server that it asks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

# Not NOTIFIER_KEY: a command of `subscribe --exec` finds the notification's key there.
VARIABLE = "NOTIFIER_API_KEY"
OPTION = "--key-file"
_MAX_BYTES = 8192  # what a server takes
# What keys and tokens are made of, as `notifier.client` has it.
_SENDABLE = re.compile(r"[A-Za-z0-9_.~+-]+")
_FOUND = "notifier.credential"

F = TypeVar("F", bound=Callable[..., Any])


def with_key(function: F) -> F:
    """Give a command ``--key-file``, which is heeded by :func:`credential`.

    There is no option for the secret itself: what a command is given, others on the machine see.
    """
    return click.option(
        OPTION,
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_find,
        help=f"File with an API key or a token; without it, what {VARIABLE} holds.",
    )(function)


def credential() -> str | None:
    """What the command under way shows to the server; ``None``: nothing."""
    found: tuple[str, str] | None = click.get_current_context().meta.get(_FOUND)
    return None if found is None else found[0]


def advice(code: object, facts: dict[str, Any]) -> list[str]:
    """What to do about a refusal with this number, if it is about who one is."""
    found: tuple[str, str] | None = click.get_current_context().meta.get(_FOUND)
    place = "" if found is None else found[1]
    match code:
        case 40100:
            return [f"Give a key or a token: {OPTION} FILE, or the variable {VARIABLE}."]
        case 40101 | 40102:
            return [f"It was read from {place}. Of a token: notifier token check"] if place else []
        case 40302 if "scope" in facts:
            given = f"--scope {facts['scope']}"
            if "channel" in facts:
                given += f" --channel '{facts['channel']}'"
            return [
                f"It was read from {place}." if place else "",
                f"Who runs the server gives another: notifier key create NAME {given}",
            ]
    return []


def _find(context: click.Context, _: click.Parameter, file: Path | None) -> None:
    if file is None:
        text, place = os.environ.get(VARIABLE, "").strip(), VARIABLE
        if not text:
            return
    else:
        text, place = _read(file), str(file)
    if _SENDABLE.fullmatch(text) is None or len(text) > _MAX_BYTES:
        raise click.UsageError(f"What {place} holds is no key and no token.")
    context.meta[_FOUND] = text, place


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1).decode("ascii").strip()
    except OSError as error:
        raise click.BadParameter(f"{file} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise click.BadParameter(f"there is no key and no token in {file}")
    return text
