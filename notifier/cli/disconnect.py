"""``notifier disconnect``: end connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.command import OfId
from notifier.cli.terminal import Exit, fail, say
from notifier.logs import escape

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
    "it first (notifier revoke). Where nobody was connected, that is 1. " + EXIT_CODES,
)
@click.argument("connection", required=False)
@click.option("--user", metavar="SUB", help="All that came with a token of this user.")
@click.option("--key", metavar="NAME", help="All that came with the key of this name.")
@with_url
def command(connection: str | None, user: str | None, key: str | None, url: str) -> None:
    """End CONNECTION, or all connections of a user or a key, on all nodes, for good."""
    if "" in (connection, user, key):
        raise click.UsageError("That is empty: nobody is called so.")
    if [connection, user, key].count(None) != 2:
        raise click.UsageError("Say which: the id of one, or --user, or --key.")

    async def end(client: Client) -> None:
        ended = 1
        if connection is not None:
            await client.disconnect(connection)
        else:
            ended = await client.disconnect_all(user=user, key=key)
        if not ended:
            whose = f"user {user}" if key is None else f"the key {key}"
            raise fail(Exit.REFUSED, escape(f"no connection is that of {whose}"))
        say(("✓ ", "green"), f"{ended} ended")

    ask(url, end)
