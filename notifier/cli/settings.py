"""Flags made from the settings, and the loading of what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic.fields import FieldInfo

from notifier.cli.command import GroupedOption
from notifier.cli.terminal import Exit, fail
from notifier.config import Loaded, Settings, SettingsError, load
from notifier.config.settings import flag_name, group_of
from notifier.config.sources import CONFIG_VARIABLE, DEFAULT_FILE
from notifier.config.values import (
    AUTO,
    DURATION,
    FROM_JSON,
    SIZE,
    choices_of,
    is_list,
    is_path,
    is_switch,
    write_value,
)

F = TypeVar("F", bound=Callable[..., Any])


def default_text(field: FieldInfo) -> str:
    """The default as one would write it; empty when there is nothing to write."""
    value = write_value(field, field.default)
    if is_switch(field):
        return str(value).lower()
    return "" if value in ([], {}) else str(value)


def with_config(function: F) -> F:
    """Give a command ``--config``, for :func:`load_settings`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"TOML file with settings; else that of {CONFIG_VARIABLE}, else ./{DEFAULT_FILE} "
        "if it is there.",
    )(function)


def with_settings(function: F) -> F:
    """Give a command ``--config`` and a flag for each setting.

    The command gets ``config`` and the flags by the settings' names, for :func:`load_settings`.
    """
    for key, field in reversed(Settings.model_fields.items()):
        default = default_text(field)
        option = click.option(
            flag_name(key),
            cls=GroupedOption,
            heading=group_of(field),
            metavar=metavar(field),
            # Told here, not to click: a flag that was not given must not win over the file.
            help=(field.description or "") + (f"  [default: {default}]" if default else ""),
            multiple=is_list(field),
            # A switch alone turns on; with a value it may turn off what the file turns on.
            **({"is_flag": False, "flag_value": "true"} if is_switch(field) else {}),
        )
        function = option(function)
    return with_config(function)


def load_settings(config: Path | None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """The effective settings; ends the command with what is wrong about them."""
    given = {key: value for key, value in (flags or {}).items() if value not in (None, ())}
    try:
        return load(given, config)
    except SettingsError as error:
        if len(error.problems) == 1:
            raise fail(Exit.USAGE, error.problems[0]) from None
        raise fail(Exit.USAGE, "these settings can't be used:", error.problems) from None


def metavar(field: FieldInfo) -> str:
    """The placeholder of the flag's value."""
    if choices := choices_of(field):
        return "|".join(choices)
    if is_path(field):
        return "FILE"
    if DURATION in field.metadata:
        return "DURATION"
    if SIZE in field.metadata:
        return "SIZE"
    if AUTO in field.metadata:
        return "N|auto"
    if is_list(field):
        return "NAME,…"
    if FROM_JSON in field.metadata:
        return "JSON"
    if is_switch(field):
        return "[true|false]"
    return "N" if field.annotation is int else "TEXT"
