"""``notifier key``: the API keys of producers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table
from rich.text import Text

from notifier.auth.keyfile import KeyFile, KeyFileError
from notifier.auth.keys import ApiKey, make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.cli.command import Group
from notifier.cli.settings import load_settings, with_config
from notifier.cli.terminal import Exit, complain, fail, say_table
from notifier.config.settings import variable_name
from notifier.durations import parse_duration
from notifier.errors import BadRequest

_NOTES = (
    "A server that runs with this file takes the change over within a second or so. Exit codes: 0 "
    "done; 1 the file can't be used, or not so; 2 the command line or a setting is wrong."
)
_LONGEST = 100 * 365 * 86400.0

F = TypeVar("F", bound=Callable[..., Any])


def _with_file(function: F) -> F:
    """Give a command ``--keys-file`` and ``--config``, for :func:`_file`."""
    function = click.option(
        "--keys-file",
        metavar="FILE",
        help=f"The file of the keys; else that of the setting keys_file "
        f"({variable_name('keys_file')}).",
    )(function)
    return with_config(function)


def _file(config: Path | None, keys_file: str | None) -> KeyFile:
    path = keys_file or load_settings(config).settings.keys_file
    if not path:
        raise fail(
            Exit.USAGE,
            "no file of keys is named",
            ['write keys_file = "keys.toml" into the settings, or give --keys-file'],
        )
    return KeyFile(Path(path))


@click.group(
    "key",
    cls=Group,
    short_help="Make, list or revoke API keys.",
    examples=[
        (
            "notifier key create ci --scope publish --channel 'builds:*'",
            "a key that may publish there",
        ),
        ("notifier key list", "which there are"),
        ("notifier key revoke ci", "it is good no longer"),
    ],
)
def command() -> None:
    """Make, list or revoke the API keys with which programs publish."""


@command.command(
    "create",
    short_help="Make a key and print it, this once.",
    examples=[
        (
            "notifier key create ci --scope publish --channel 'builds:*' --expires 90d",
            "may publish to the channels builds:…, for 90 days",
        ),
        (
            "KEY=$(notifier key create app --scope publish --scope history --channel '*')",
            "may publish and read everywhere; only the key itself is on stdout",
        ),
        ("notifier key create prometheus --scope metrics", "may read /metrics"),
    ],
    notes=_NOTES,
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it may do; can be repeated.",
)
@click.option(
    "--channel",
    "channels",
    metavar="NAME|PATTERN",
    multiple=True,
    help="Where it may do so; can be repeated. Scopes metrics and admin need none.",
)
@click.option(
    "--expires", metavar="DURATION", help="How long it is good, such as 90d; else always."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_with_file
def create(
    name: str,
    scopes: tuple[str, ...],
    channels: tuple[str, ...],
    expires: str | None,
    as_json: bool,
    config: Path | None,
    keys_file: str | None,
) -> None:
    """Make a key called NAME and print it: it is shown this once, and kept as a hash alone."""
    now = float(int(time.time()))
    try:
        key, text = make_key(
            name,
            scopes=[Scope(scope) for scope in scopes],
            channels=Reach.of(channels),
            created=now,
            expires=None if expires is None else now + _lifetime(expires),
        )
    except (ValueError, BadRequest) as error:
        raise fail(Exit.USAGE, str(error)) from None
    file = _file(config, keys_file)
    try:
        file.add(key)
    except KeyFileError as error:
        raise fail(Exit.REFUSED, str(error)) from None
    if as_json:
        click.echo(json.dumps({"key": text, **_members(key, now)}, ensure_ascii=False))
        return
    click.echo(text)
    until = "" if key.expires is None else f", until {_day(key.expires)}"
    complain(("✓ ", "green"), f"{key.name} may {_deeds(key)}{until}")
    complain((f"  Kept in {file.path}, as a hash: the key itself is shown only here.", "dim"))
    complain(('  Use it: curl -H "Authorization: Bearer $KEY" …', "dim"))


@command.command(
    "list",
    short_help="List the keys.",
    examples=[
        ("notifier key list", "what each may do, and for how long"),
        ("notifier key list --json", "for programs"),
    ],
    notes=_NOTES,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@_with_file
def list_(as_json: bool, config: Path | None, keys_file: str | None) -> None:
    """List the keys; never the keys themselves, which nobody knows any more."""
    try:
        keys = _file(config, keys_file).read()
    except KeyFileError as error:
        raise fail(Exit.REFUSED, str(error)) from None
    now = time.time()
    if as_json:
        for key in keys:
            click.echo(json.dumps(_members(key, now), ensure_ascii=False))
    elif keys:
        say_table(_table(keys, now))
    else:
        complain(("no keys", "dim"))


@command.command(
    "revoke",
    short_help="Let a key be good no longer.",
    examples=[("notifier key revoke ci", "whoever has it is refused from now on")],
    notes=_NOTES,
)
@click.argument("name")
@_with_file
def revoke(name: str, config: Path | None, keys_file: str | None) -> None:
    """Let the key called NAME be good no longer."""
    try:
        key = _file(config, keys_file).remove(name)
    except KeyFileError as error:
        raise fail(Exit.REFUSED, str(error)) from None
    complain(("✓ ", "green"), f"{key.name} is revoked")


def _lifetime(text: str) -> float:
    seconds = parse_duration(text)
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("a key is good for a second at least, and for 100 years at most")
    return seconds


def _members(key: ApiKey, now: float) -> dict[str, object]:
    return {
        "name": key.name,
        "id": key.id,
        "scopes": sorted(key.scopes),
        "channels": key.channels.texts(),
        "created": _rfc3339(key.created),
        "expires": None if key.expires is None else _rfc3339(key.expires),
        "expired": key.is_expired(now),
    }


def _table(keys: list[ApiKey], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", style="bold", no_wrap=True)
    for name in ("scopes", "channels", "created", "expires"):
        table.add_column(name, no_wrap=True)
    for key in keys:
        expires = Text("never", "dim") if key.expires is None else Text(_day(key.expires))
        if key.is_expired(now):
            expires = Text(f"{expires.plain} (expired)", "red")
        scopes = ", ".join(sorted(key.scopes))
        table.add_row(key.name, scopes, str(key.channels), _day(key.created), expires)
    return table


def _deeds(key: ApiKey) -> str:
    """What it may do, for people."""
    there = [scope.deed for scope in Scope if scope in key.scopes & OF_CHANNELS]
    anywhere = [scope.deed for scope in Scope if scope in key.scopes - OF_CHANNELS]
    if not there:
        return _listed(anywhere)
    where = f"{_listed(there)} on {key.channels}"
    return f"{where}, and {_listed(anywhere)}" if anywhere else where


def _listed(deeds: list[str]) -> str:
    *others, last = deeds
    return f"{', '.join(others)} and {last}" if others else last


def _day(seconds: float) -> str:
    """In the reader's time zone."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M}"


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
