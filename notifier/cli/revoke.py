"""``notifier revoke``: let a token, or all of a user's, be good no longer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.command import OfId
from notifier.cli.terminal import say
from notifier.instants import parse_instant

if TYPE_CHECKING:
    from notifier.client import Client


def _instant(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime | None:
    if text is None:
        return None
    try:
        seconds = float(text) if text.isdigit() else parse_instant(text) / 1000
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time such as 2026-11-22T17:24:00Z, and no seconds since 1970"
        ) from None


@click.command(
    "revoke",
    cls=OfId,
    short_help="Revoke a token by its id, or all of a user's.",
    examples=[
        ("notifier revoke login-7f3a --until 2026-12-01T00:00:00Z", "until its exp"),
        ("notifier revoke login-7f3a --until 1796083200", "as it stands in the token"),
        ("notifier revoke --user 42", "log user 42 out everywhere"),
    ],
    notes="`notifier token check` shows the jti and the exp of a token. API keys are revoked with "
    "`notifier key revoke`. " + EXIT_CODES,
)
@click.argument("token_id", required=False)
@click.option(
    "--until",
    metavar="TIME",
    callback=_instant,
    help="When the token expires: its exp, or later.",
)
@click.option("--user", metavar="SUB", help="Revoke all tokens with this sub, issued until now.")
@click.option(
    "--before",
    metavar="TIME",
    callback=_instant,
    help="Of the user's, those issued before this time (their iat), which has passed.",
)
@with_url
def command(
    token_id: str | None,
    until: datetime | None,
    user: str | None,
    before: datetime | None,
    url: str,
) -> None:
    """Let the token whose jti is TOKEN_ID, or all tokens of a user, be good no longer, and end
    their connections."""
    if (token_id is None) == (user is None):
        raise click.UsageError("name a token by its jti, or a user with --user")
    if (token_id is None) != (until is None):
        raise click.UsageError("--until goes with a token's jti, which needs it")
    if before is not None and user is None:
        raise click.UsageError("--before goes with --user")

    async def revoke(client: Client) -> None:
        if user is not None:
            ended = await client.revoke_all(user=user, before=before)
        else:
            assert token_id is not None and until is not None
            ended = await client.revoke(token_id, until=until)
        say(("✓ ", "green"), f"revoked; {ended} connection{'' if ended == 1 else 's'} ended")

    ask(url, revoke)
