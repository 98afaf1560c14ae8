"""``notifier nodes``: the server processes that are one service."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import moment, rfc3339
from notifier.cli.command import Command
from notifier.cli.terminal import say_table
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client, Node


@click.command(
    "nodes",
    cls=Command,
    short_help="List the nodes of the service.",
    examples=[
        ("notifier nodes", "how many clients each has, and whether it takes more"),
        ("notifier nodes --json", "for programs"),
    ],
    notes=EXIT_CODES,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_url
def command(as_json: bool, url: str) -> None:
    """List the server processes that are one service."""

    async def read(client: Client) -> None:
        found = await client.nodes()
        if as_json:
            for node in found:
                click.echo(json.dumps(asdict(node), default=rfc3339, ensure_ascii=False))
        else:
            say_table(_table(found))

    ask(url, read)


def _table(nodes: list[Node]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("node", style="bold", no_wrap=True)
    table.add_column("address", no_wrap=True)
    for name in ("connections", "subscriptions", "channels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("version", style="dim", no_wrap=True)
    table.add_column("state")
    for node in nodes:
        table.add_row(
            escape(node.id),
            f"{escape(node.host)}:{node.port}",
            str(node.connections),
            str(node.subscriptions),
            str(node.channels),
            moment(node.started),
            escape(node.version),
            "ready" if node.reason is None else escape(node.reason),
        )
    return table
