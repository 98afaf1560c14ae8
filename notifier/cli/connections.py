"""``notifier connections``: who is connected."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import moment, rfc3339
from notifier.cli.command import Command
from notifier.cli.terminal import complain, say_table
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client, Connection


@click.command(
    "connections",
    cls=Command,
    short_help="List the clients' connections.",
    examples=[
        ("notifier connections", "all of them, on all nodes"),
        ("notifier connections --user 42", "those of one user"),
        ("notifier connections --json", "for programs"),
    ],
    notes=EXIT_CODES,
)
@click.option("--user", metavar="SUB", help="Only those with a token of this user.")
@click.option("--key", metavar="NAME", help="Only those with the key of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_url
def command(user: str | None, key: str | None, as_json: bool, url: str) -> None:
    """List the clients' connections, on all nodes."""

    async def read(client: Client) -> None:
        found = await client.connections(user=user, key=key)
        if as_json:
            for each in found:
                click.echo(json.dumps(asdict(each), default=rfc3339, ensure_ascii=False))
        elif found:
            say_table(_table(found))
        else:
            complain(("no connections", "dim"))

    ask(url, read)


def _table(connections: list[Connection]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("connection", style="bold", no_wrap=True)
    for name in ("who", "from", "transport"):
        table.add_column(name, no_wrap=True)
    table.add_column("subscriptions", justify="right", no_wrap=True)
    for name in ("since", "expires", "node"):
        table.add_column(name, no_wrap=True)
    for each in connections:
        table.add_row(
            escape(each.id),
            escape(f"{each.kind} {each.name}".rstrip()),
            escape(each.remote),
            escape(each.transport),
            str(each.subscriptions),
            moment(each.since),
            "never" if each.expires is None else moment(each.expires),
            escape(each.node),
        )
    return table
