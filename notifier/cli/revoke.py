"""``notifier revoke``: let a token be good no longer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.command import Command
from notifier.cli.terminal import say
from notifier.instants import parse_instant

if TYPE_CHECKING:
    from notifier.client import Client


def _instant(_context: click.Context, _parameter: click.Parameter, text: str) -> datetime:
    try:
        seconds = float(text) if text.isdigit() else parse_instant(text) / 1000
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-11-22T17:24:00Z, and no seconds since 1970"
        ) from None


@click.command(
    "revoke",
    cls=Command,
    short_help="Revoke a token by its id.",
    examples=[
        ("notifier revoke login-7f3a --until 2026-12-01T00:00:00Z", "until its exp"),
        ("notifier revoke login-7f3a --until 1796083200", "as it stands in the token"),
    ],
    notes="`notifier token check` shows the jti and the exp of a token. API keys are revoked with "
    "`notifier key revoke`. " + EXIT_CODES,
)
@click.argument("token_id")
@click.option(
    "--until",
    metavar="TIME",
    required=True,
    callback=_instant,
    help="When the token expires: its exp, or later.",
)
@with_url
def command(token_id: str, until: datetime, url: str) -> None:
    """Let the token whose jti is TOKEN_ID be good no longer, and end its connections."""

    async def revoke(client: Client) -> None:
        ended = await client.revoke(token_id, until=until)
        say(("✓ ", "green"), f"revoked; {ended} connection{'' if ended == 1 else 's'} ended")

    ask(url, revoke)
