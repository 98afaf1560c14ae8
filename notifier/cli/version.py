"""``notifier version``: what is running."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import click

from notifier import __version__
from notifier.cli.command import Command
from notifier.cli.terminal import say


@click.command(
    "version",
    cls=Command,
    short_help="Show the versions that matter in a bug report.",
    examples=[
        ("notifier version", "for people"),
        ("notifier version --json", "for programs"),
    ],
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show the versions of notifier and of what it stands on."""
    versions = {
        "notifier": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("tornado", "redis", "pydantic")},
    }
    if as_json:
        click.echo(json.dumps(versions))
        return
    for name, number in versions.items():
        say((f"{name:<10}", "dim"), number)
