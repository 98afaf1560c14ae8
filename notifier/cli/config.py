"""``notifier config``: the settings as they are in effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from notifier.cli.command import Group
from notifier.cli.settings import load_settings, with_settings
from notifier.cli.terminal import complain, say
from notifier.config import Loaded, Origin, Settings
from notifier.config.settings import group_of
from notifier.config.shown import shown
from notifier.config.values import write_value


@click.group(
    "config",
    cls=Group,
    short_help="Show or check the settings.",
    examples=[
        ("notifier config show", "every setting, and where it comes from"),
        ("notifier config check notifier.toml", "is this file good?"),
    ],
)
def command() -> None:
    """Show or check the settings."""


@command.command(
    "show",
    short_help="Show the effective settings and where each comes from.",
    examples=[
        ("notifier config show", "as a TOML file, the origins as comments"),
        ("notifier config show --port 9000", "what would `serve --port 9000` run with?"),
        ("notifier config show --format json", 'for programs: {"port": {"value": …, "from": …}}'),
    ],
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["toml", "json"]),
    default="toml",
    show_default=True,
    help="How to write them.",
)
@with_settings
def show(format_: str, config: Path | None, **flags: Any) -> None:
    """Show the effective settings and where each comes from: default, file, environment or flag."""
    loaded = load_settings(config, flags)
    if format_ == "json":
        settings = shown(loaded.settings, loaded.origins)
        click.echo(json.dumps(settings, indent=2, ensure_ascii=False))
    else:
        for line in _as_toml(loaded):
            say(*line)
    _warn(loaded)


@command.command(
    "check",
    short_help="Check a settings file.",
    examples=[
        ("notifier config check", "what `serve` would read here, the environment included"),
        ("notifier config check /etc/notifier.toml", "this file"),
    ],
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check the settings: exits 0 when `serve` would take them, else 2 and says what is wrong."""
    loaded = load_settings(file)
    source = str(loaded.file) if loaded.file else "the settings"
    count = sum(origin.kind != "default" for origin in loaded.origins.values())
    say(("✓ ", "green"), f"{source}: good ({count} of {len(loaded.origins)} set)")
    _warn(loaded)


def _warn(loaded: Loaded) -> None:
    for name, near in loaded.unknown_variables.items():
        hint = f"; did you mean {near}?" if near else ""
        complain(("warning", "yellow"), f": {name} in the environment is no setting{hint}")


def _as_toml(loaded: Loaded) -> Iterator[list[str | tuple[str, str]]]:
    """Lines of a file that sets all of this; tables come last, as TOML wants."""
    heading = ""
    tables: list[list[str | tuple[str, str]]] = []
    for key, field in Settings.model_fields.items():
        value = write_value(field, getattr(loaded.settings, key))
        origin = loaded.origins[key]
        if isinstance(value, dict):
            for name, own in value.items():
                tables += [[], [(f"[{key}.{_toml_key(name)}]", "bold"), _comment(origin)]]
                tables += [[f"{option} = {_toml(entry)}"] for option, entry in own.items()]
            continue
        if group_of(field) != heading:
            if heading:
                yield []
            heading = group_of(field)
            yield [(f"# {heading}", "bold")]
        style = "" if origin.kind == "default" else "green"
        yield [(f"{key} = {_toml(value)}", style), _comment(origin)]
    yield from tables


def _comment(origin: Origin) -> tuple[str, str]:
    return f"  # {origin.kind}" + (f" {origin.name}" if origin.name else ""), "dim"


def _toml(value: object) -> str:
    # Numbers, strings and lists of strings are written alike in TOML and JSON, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").isalnum() else _toml(name)
