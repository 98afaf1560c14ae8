"""``notifier presence``: who is on a channel."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import moment, rfc3339
from notifier.cli.command import Command
from notifier.cli.terminal import complain, say
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client


@click.command(
    "presence",
    cls=Command,
    short_help="Show who follows a channel.",
    examples=[
        ("notifier presence chat:lobby", "how many, and which connections"),
        ("notifier presence chat:lobby --json", "for programs"),
    ],
    notes="Where the channel's namespace has presence off, and where they are many, only their "
    "number is told. " + EXIT_CODES,
)
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_url
def command(channel: str, as_json: bool, url: str) -> None:
    """Show who follows CHANNEL."""

    async def read(client: Client) -> None:
        presence = await client.presence(channel)
        if as_json:
            click.echo(json.dumps(asdict(presence), default=rfc3339, ensure_ascii=False))
            return
        count = presence.count
        say((escape(presence.channel), "bold"), f": {count} subscriber{'' if count == 1 else 's'}")
        for member in presence.members or ():
            how = f"  {escape(member.transport)} since {moment(member.since)}"
            user = "" if member.user is None else f"  {escape(member.user)}"
            say(f"  {escape(member.connection)}{user}", (how, "dim"))
        if presence.members is None:
            complain(("who they are is not shown here", "dim"))

    ask(url, read)
