"""``notifier channels``: what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import moment, rfc3339, size
from notifier.cli.command import Command
from notifier.cli.terminal import complain, say_table
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Channel, Client


@click.command(
    "channels",
    cls=Command,
    short_help="List the channels.",
    examples=[
        ("notifier channels", "all of them"),
        ("notifier channels 'builds:*'", "those that match"),
        ("notifier channels --json", "for programs"),
    ],
    notes=EXIT_CODES,
)
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_url
def command(pattern: str | None, as_json: bool, url: str) -> None:
    """List the channels, or those that match PATTERN."""

    async def read(client: Client) -> None:
        found = await client.channels(pattern)
        if as_json:
            for channel in found:
                click.echo(json.dumps(_members(channel), ensure_ascii=False))
        elif found:
            say_table(_table(found))
        else:
            complain(("no channels", "dim"))

    ask(url, read)


def _members(channel: Channel) -> dict[str, object]:
    """As the server has them."""
    return {
        "channel": channel.name,
        "position": channel.position,
        "publications": channel.publications,
        "bytes": channel.size,
        "time": None if channel.time is None else rfc3339(channel.time),
        "subscribers": channel.subscribers,
    }


def _table(channels: list[Channel]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("channel", style="bold", no_wrap=True)
    for name in ("kept", "size", "subscribers"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("newest", no_wrap=True)
    table.add_column("position", style="dim", no_wrap=True)
    for channel in channels:
        table.add_row(
            escape(channel.name),
            str(channel.publications),
            size(channel.size),
            str(channel.subscribers),
            "" if channel.time is None else moment(channel.time),
            channel.position or "",
        )
    return table
