"""``notifier token``: the tokens of listeners."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic_core import to_json

from notifier.auth.issuing import SigningKey, make_token, signing_key, signing_secret
from notifier.auth.jwks import MAX_DOCUMENT_BYTES
from notifier.auth.keyset import Keyset, parse_jwks
from notifier.auth.tokens import MAX_TOKEN_BYTES, Token
from notifier.cli.command import Group
from notifier.cli.document import get_document
from notifier.cli.post import Unreachable
from notifier.cli.settings import load_settings, with_config
from notifier.cli.terminal import Exit, complain, fail, say
from notifier.config import Settings
from notifier.config.settings import variable_name
from notifier.config.tokens import TokenKeysError, static_keys, token_rules, verifies_tokens
from notifier.durations import parse_duration
from notifier.errors import BadCredential, NotifierError
from notifier.jsontext import parse_json
from notifier.logs import escape

_TIMEOUT = 5.0
_MAX_KEY_BYTES = 64 * 1024


@click.group(
    "token",
    cls=Group,
    short_help="Make or check listeners' tokens.",
    examples=[
        ("notifier token make --sub 42 --channel alerts", "a token for user 42, good for an hour"),
        ("notifier token check eyJhbGci…", "what does it say, and would the server take it?"),
    ],
)
def command() -> None:
    """Make or check the tokens (JWT) with which users listen."""


@command.command(
    "make",
    short_help="Make a token and print it.",
    examples=[
        (
            "notifier token make --sub 42 --channel chat:lobby --publish chat:lobby --expires 1d",
            "user 42 may read and write there, for a day",
        ),
        (
            "TOKEN=$(notifier token make --sub 42 --channel alerts --channel 'builds:*')",
            "may follow these; only the token itself is on stdout",
        ),
        (
            "notifier token make --sub 42 --key private.pem --kid 2026-11",
            "signed with a private key instead of token_secret",
        ),
    ],
    notes="It is signed with token_secret of the settings, and is by token_issuer and for "
    "token_audience, where they are set. Exit codes: 0 made; 2 the command line or a setting is "
    "wrong.",
)
@click.option("--sub", required=True, metavar="USER", help="The user it speaks for.")
@click.option(
    "--channel",
    "channels",
    metavar="NAME|PATTERN",
    multiple=True,
    help="What the user may subscribe to and read; can be repeated.",
)
@click.option(
    "--publish",
    metavar="NAME|PATTERN",
    multiple=True,
    help="Where the user may publish; can be repeated.",
)
@click.option(
    "--expires", metavar="DURATION", default="1h", show_default=True, help="How long it is good."
)
@click.option("--info", metavar="JSON", help="What presence tells others of the user.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Private key in PEM (RSA, P-256 or Ed25519) to sign with; else token_secret "
    f"({variable_name('token_secret')}).",
)
@click.option("--kid", metavar="NAME", help="The name under which the server knows that key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_config
def make(
    sub: str,
    channels: tuple[str, ...],
    publish: tuple[str, ...],
    expires: str,
    info: str | None,
    key_file: Path | None,
    kid: str | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """Make a token for a user and print it."""
    settings = load_settings(config).settings
    now = int(time.time())
    try:
        key = _signing(settings, key_file, kid)
        claims: dict[str, Any] = {
            "sub": sub,
            "iat": now,
            "exp": now + _lifetime(expires, settings.max_token_life),
            # So that it can be revoked.
            "jti": secrets.token_urlsafe(12),
        }
        optional = {
            "iss": settings.token_issuer,
            "aud": settings.token_audience,
            "channels": list(channels),
            "publish": list(publish),
        }
        claims |= {name: value for name, value in optional.items() if value}
        if info is not None:
            claims["info"] = parse_json(info)
        token = make_token(claims, key)
    except NotifierError as error:
        raise fail(Exit.USAGE, escape(error.message)) from None
    except ValueError as error:
        raise fail(Exit.USAGE, escape(str(error))) from None
    if as_json:
        click.echo(to_json({"token": token, "claims": claims}).decode())
        return
    click.echo(token)
    complain(("✓ ", "green"), f"for {escape(sub)}, signed with {key.algorithm}")
    complain((f"  good until {_minute(claims['exp'])}", "dim"))


def _signing(settings: Settings, file: Path | None, kid: str | None) -> SigningKey:
    """:raises ValueError: there is no key that signs."""
    if file is None:
        if not settings.token_secret:
            raise ValueError(
                f"there is nothing to sign with: set token_secret ({variable_name('token_secret')})"
                ", or give --key"
            )
        return signing_secret(settings.token_secret, kid)
    try:
        with file.open("rb") as stream:
            return signing_key(stream.read(_MAX_KEY_BYTES), kid)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _lifetime(text: str, longest: float) -> int:
    seconds = parse_duration(text)
    if not 1 <= seconds <= longest:
        raise ValueError(
            f"a token is good for a second at least, and for {longest / 86400:.6g} days at most "
            "(setting max_token_life)"
        )
    return int(seconds)


@command.command(
    "check",
    short_help="Show what a token says, and whether the server would take it.",
    examples=[
        ("notifier token check eyJhbGci…", "who, what, until when; and if refused, why"),
        ("notifier token check - < token.txt", "from stdin, so that no other process sees it"),
        ("notifier token check --json eyJhbGci…", "for programs"),
    ],
    notes="The settings are those `serve` would read here. What was revoked while the server runs "
    "is not known here. Exit codes: 0 the server would take it; 1 it would not; 2 the command line "
    "or a setting is wrong.",
)
@click.argument("token")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_config
def check(token: str, as_json: bool, config: Path | None) -> None:
    """Show what TOKEN says, and whether a server with these settings would take it."""
    settings = load_settings(config).settings
    if token == "-":
        # One byte more than fits, and a line end.
        given = sys.stdin.buffer.read(MAX_TOKEN_BYTES + 16)
        token = given.decode(errors="replace")
    try:
        parsed = Token.parse(token.strip().removeprefix("Bearer "))
    except BadCredential as error:
        _tell(None, {}, error, as_json=as_json)
        raise click.exceptions.Exit(Exit.REFUSED) from None
    claims: dict[str, Any] = {}
    refusal: NotifierError | None = None
    try:
        claims = parsed.unverified_claims()
        keys = _keys(settings)
        if not verifies_tokens(settings):
            raise BadCredential(
                "These settings verify no tokens: set token_secret, token_keys_file or "
                "token_jwks_url."
            )
        token_rules(settings).verify(parsed, keys, time.time())
    except NotifierError as error:
        refusal = error
    _tell(parsed, claims, refusal, as_json=as_json)
    if refusal is not None:
        raise click.exceptions.Exit(Exit.REFUSED)


def _keys(settings: Settings) -> Keyset:
    try:
        keys = static_keys(settings)
        url = settings.token_jwks_url
        if url:
            document = get_document(url, limit=MAX_DOCUMENT_BYTES, timeout=_TIMEOUT)
            keys |= parse_jwks(document)[0]
    except TokenKeysError as error:
        raise fail(Exit.USAGE, str(error)) from None
    except (Unreachable, ValueError) as error:
        raise fail(Exit.USAGE, f"token_jwks_url {url}: {error}") from None
    return keys


def _tell(
    token: Token | None, claims: dict[str, Any], refusal: NotifierError | None, *, as_json: bool
) -> None:
    if as_json:
        answer = {
            "accepted": refusal is None,
            "error": None if refusal is None else refusal.describe(),
            "algorithm": token and token.algorithm,
            "kid": token and token.kid,
            "claims": claims,
        }
        click.echo(to_json(answer).decode())
        return
    if refusal is None:
        say(("✓ ", "green"), ("the server would take it", "green"))
    else:
        say(("✗ ", "bold red"), (escape(refusal.message), "red"), (f"  ({refusal.code})", "dim"))
    if token is None:
        return
    kid = "" if token.kid is None else f", key {escape(token.kid)}"
    say(("  signed    ", "dim"), f"{escape(token.algorithm)}{kid}")
    for name, value in claims.items():
        say((f"  {escape(name):<9} ", "dim"), *_shown(name, value))


def _shown(name: str, value: object) -> Iterator[str | tuple[str, str]]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    yield escape(text)
    if name in ("exp", "iat", "nbf") and isinstance(value, int | float):
        try:
            yield f"  {_minute(value)}", "cyan"
        except (ValueError, OverflowError, OSError):
            return  # no calendar has it; the refusal says so
        ahead = value - time.time()
        if name == "exp":
            yield (f"  for {_span(ahead)}", "green") if ahead > 0 else ("  over", "red")


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _minute(seconds: float) -> str:
    """In the reader's time zone."""
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
