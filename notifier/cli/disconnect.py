"""``notifier disconnect``: end connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.command import OfId
from notifier.cli.terminal import say

if TYPE_CHECKING:
    from notifier.client import Client


@click.command(
    "disconnect",
    cls=OfId,
    short_help="End a connection, or all of a user or a key.",
    examples=[
        ("notifier disconnect Zk3hJ0q_2bXw9c1M", "one, by its id"),
        ("notifier disconnect --user 42", "all of a user"),
    ],
    notes="Clients of ours do not come back by themselves. Who still has a good token may: revoke "
    "it first (notifier revoke). " + EXIT_CODES,
)
@click.argument("connection", required=False)
@click.option("--user", metavar="SUB", help="All that came with a token of this user.")
@click.option("--key", metavar="NAME", help="All that came with the key of this name.")
@with_url
def command(connection: str | None, user: str | None, key: str | None, url: str) -> None:
    """End CONNECTION, or all connections of a user or a key, on all nodes, for good."""
    if [connection, user, key].count(None) != 2:
        raise click.UsageError("Say which: the id of one, or --user, or --key.")

    async def end(client: Client) -> None:
        if connection is not None:
            await client.disconnect(connection)
            say(("✓ ", "green"), "1 ended")
        else:
            say(("✓ ", "green"), f"{await client.disconnect_all(user=user, key=key)} ended")

    ask(url, end)
