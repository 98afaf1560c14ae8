"""The parameters of a URL: each known, each read by its rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tornado.web import RequestHandler

from notifier.channels import Pattern, is_pattern
from notifier.errors import (
    BadChannel,
    BadParameter,
    BadRequest,
    BadSince,
    PresenceOff,
    TokenTooLong,
    TooManySubscriptions,
    UnknownField,
)
from notifier.fields import unknown_field
from notifier.node import Node
from notifier.notification import Position
from notifier.wire.resume import Starts, starts

_MAX_KEY = 200
# How a URL that subscribes may be refused.
WANTED_ERRORS = (
    UnknownField,
    BadChannel,
    BadParameter,
    BadSince,
    PresenceOff,
    TooManySubscriptions,
    TokenTooLong,
)


def check_names(given: Iterable[str], known: frozenset[str]) -> None:
    """A parameter that nobody knows is refused rather than ignored.

    :raises UnknownField:
    """
    for name in given:
        if name not in known:
            raise unknown_field(name, name, known)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a URL subscribes to.

    :param names: of channels and patterns.
    :param presence: with who joins and leaves.
    """

    names: tuple[str, ...]
    start_of: Starts
    presence: bool = False


def read_wanted(
    handler: RequestHandler, node: Node, *, names: Iterable[str] = (), since: str | None = None
) -> Wanted:
    """``?channel=…&channel=…&since=…&presence=1``

    :param names: of channels that stand elsewhere in the URL.
    :param since: what the client says elsewhere; wins over the parameter.
    :raises BadChannel:
    :raises BadSince:
    :raises PresenceOff: of a channel named; of a pattern's, those tell that may.
    :raises TooManySubscriptions:
    """
    given = dict.fromkeys([*names, *handler.get_query_arguments("channel")])
    # Names first: a channel that a pattern has brought can't be subscribed by its name any more.
    checked = tuple(sorted((node.check_name(name) for name in given), key=is_pattern))
    limit = node.settings.max_subscriptions
    if len(checked) > limit:
        raise TooManySubscriptions(
            f"A connection may have {limit} subscriptions (setting max_subscriptions).",
            limit=limit,
        )
    if since is None:
        since = handler.get_query_argument("since", None)
    start_of = starts(since, checked, now_ms=node.now_ms())
    presence = read_switch("presence", handler.get_query_argument("presence", "0"))
    if presence:
        for name in checked:
            if not is_pattern(name):
                node.check_presence(name)
    return Wanted(checked, start_of, presence)


def read_limit(text: str | None) -> int | None:
    """A number; the node knows how large it may be."""
    if text is None:
        return None
    # What is no number breaks the same rule as one that is too small.
    return int(text[:9]) if text.isascii() and text.isdigit() else 0


def read_position(name: str, text: str | None) -> Position | None:
    """:raises BadParameter:"""
    if text is None:
        return None
    try:
        return Position.parse(text)
    except ValueError as problem:
        raise BadParameter(f"{name}: {problem}.", field=name) from None


def read_choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    """:raises BadParameter:"""
    if text not in choices:
        raise BadParameter(f"{name} is one of {', '.join(choices)}.", field=name)
    return text


def read_switch(name: str, text: str) -> bool:
    """:raises BadParameter:"""
    return read_choice(name, text, ("0", "1")) == "1"


def read_key(text: str | None) -> str | None:
    """A notification's ``key``.

    :raises BadParameter:
    """
    if text is not None and not (1 <= len(text) <= _MAX_KEY and text.isprintable()):
        raise BadParameter(f"key is 1 to {_MAX_KEY} printable characters.", field="key")
    return text


def read_pattern(text: str) -> Pattern:
    """:raises BadParameter:"""
    try:
        return Pattern.parse(text)
    except BadRequest as refusal:
        raise BadParameter(refusal.message, field="pattern") from None
