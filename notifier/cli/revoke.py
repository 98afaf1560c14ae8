"""``notifier revoke``: let a token, or all of a user's, be good no longer."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from notifier.auth.tokens import Token
from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.command import OfId
from notifier.cli.terminal import say
from notifier.errors import BadCredential
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


def _read(token: str) -> tuple[str, datetime | None]:
    """The id of a token, and when it expires if that is known.

    :param token: whole, or its id.
    """
    try:
        claims = Token.parse(token.strip().removeprefix("Bearer ")).unverified_claims()
    except BadCredential:
        return token, None
    jti, expires = claims.get("jti"), claims.get("exp")
    if not isinstance(jti, str) or not jti:
        raise click.UsageError(
            "this token has no jti: revoke all tokens of its user (--user SUB), or end the key "
            "that signed it"
        )
    try:
        return jti, datetime.fromtimestamp(math.ceil(expires), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return jti, None


@click.command(
    "revoke",
    cls=OfId,
    short_help="Revoke a token by its id, or all of a user's.",
    examples=[
        ("notifier revoke eyJhbGci…", "a whole token, by the jti and the exp that are in it"),
        ("notifier revoke login-7f3a", "by its jti, for as long as it may live"),
        ("notifier revoke login-7f3a --until 2026-12-01T00:00:00Z", "until its exp"),
        ("notifier revoke --user 42", "log user 42 out everywhere"),
    ],
    notes="A token is good again after --until if it has not expired by then. API keys are "
    "revoked with `notifier key revoke`. " + EXIT_CODES,
)
@click.argument("token", required=False)
@click.option(
    "--until",
    metavar="TIME",
    callback=_instant,
    help="When the token expires: its exp, or later. Without: what a whole TOKEN says, or as long "
    "as the server takes any.",
)
@click.option("--user", metavar="SUB", help="Revoke all tokens with this sub, issued until now.")
@click.option(
    "--before",
    metavar="TIME",
    callback=_instant,
    help="Of the user's, those issued before this time (their iat), which has passed or is "
    "30 s to come at most.",
)
@with_url
def command(
    token: str | None,
    until: datetime | None,
    user: str | None,
    before: datetime | None,
    url: str,
) -> None:
    """Let TOKEN, given whole or by its jti, or all tokens of a user, be good no longer, and end
    their connections."""
    if (token is None) == (user is None):
        raise click.UsageError("name a token, whole or by its jti, or a user with --user")
    if token is None and until is not None:
        raise click.UsageError("--until goes with a token")
    if before is not None and user is None:
        raise click.UsageError("--before goes with --user")
    token_id, expires = _read(token or "")
    if expires is not None and until is not None and until < expires:
        raise click.BadParameter(
            f"the token is good until {expires:%Y-%m-%dT%H:%M:%SZ}, and would be again",
            param_hint="--until",
        )
    until = until or expires

    async def revoke(client: Client) -> None:
        if user is not None:
            ended = await client.revoke_all(user=user, before=before)
        else:
            ended = await client.revoke(token_id, until=until)
        say(("✓ ", "green"), f"revoked; {ended} connection{'' if ended == 1 else 's'} ended")

    ask(url, revoke)
