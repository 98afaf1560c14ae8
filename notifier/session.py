"""A client's native protocol, as a state machine without input or output.

Feed it what the client sent; it answers what to do: a command to run, a message to send, or a
close. It knows no sockets, no loop and no clock, so every path of it can be tested by calling it.

::

            drain            close
    OPEN ─────────▶ LEAVING ───────▶ CLOSED
      └─────────────── close ──────────▲
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from notifier.channels import MAX_CHANNEL_BYTES, check_channel, check_name
from notifier.errors import (
    BadCredential,
    BadField,
    BadJSON,
    BadMessage,
    Draining,
    NotifierError,
    UnknownType,
)
from notifier.fields import FIELDS, unknown_field
from notifier.jsontext import parse_json
from notifier.wire import messages
from notifier.wire.messages import Ref

# Messages that are not JSON objects, before we conclude that the peer speaks something else.
MAX_STRIKES = 3

_MAX_REF = 200
# Of what is refused unread, a longer one is not searched for its ref.
_MAX_DECLINED = 4096
_MAX_TOKEN = 8192


class State(Enum):
    OPEN = "open"
    LEAVING = "leaving"  # told to reconnect; receives until its slot has passed
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """``channel``: or a pattern. ``presence``: with who joins and leaves."""

    channel: str
    since: str | None
    ref: Ref = None
    presence: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """``channel``: or a pattern."""

    channel: str
    ref: Ref = None


@dataclass(frozen=True, slots=True)
class Publish:
    """``fields``: the notification's, not yet validated."""

    fields: Mapping[str, Any]
    ref: Ref = None


@dataclass(frozen=True, slots=True)
class ReadHistory:
    channel: str
    since: str | None
    limit: int | None
    ref: Ref = None


@dataclass(frozen=True, slots=True)
class ReadPresence:
    channel: str
    ref: Ref = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """``token``: or a key, of whoever it is from now on."""

    token: str = field(repr=False)
    ref: Ref = None


@dataclass(frozen=True, slots=True)
class Ping:
    ref: Ref = None


Command = Subscribe | Unsubscribe | Publish | ReadHistory | ReadPresence | Authenticate | Ping


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the client.

    :param code: of the error that it tells, if it tells one.
    """

    message: bytes
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; nothing is sent after."""

    code: int
    reason: str


Step = Command | Send | Close

# What each type of message may carry besides type and ref.
_MEMBERS: dict[str, frozenset[str]] = {
    "subscribe": frozenset({"channel", "since", "presence"}),
    "unsubscribe": frozenset({"channel"}),
    "publish": FIELDS,
    "history": frozenset({"channel", "since", "limit"}),
    "presence": frozenset({"channel"}),
    "authenticate": frozenset({"token"}),
    "ping": frozenset(),
}

# What is refused in which state, beyond CLOSED, where everything is.
_REFUSED: dict[State, frozenset[str]] = {
    State.OPEN: frozenset(),
    State.LEAVING: frozenset({"subscribe"}),
    State.CLOSED: frozenset(_MEMBERS),
}


class Session:
    """One client's side of the conversation.

    :param longest_name: of a channel or a pattern, in bytes.
    """

    def __init__(self, *, longest_name: int = MAX_CHANNEL_BYTES) -> None:
        self.state = State.OPEN
        self._longest = longest_name
        self._strikes = 0

    def receive(self, message: str | bytes) -> list[Step]:
        """What to do about a message from the client, in order."""
        if self.state is State.CLOSED:
            return []
        ref: Ref = None
        try:
            parsed = _object(message)
            self._strikes = 0
            ref = _ref(parsed)
            return [self._command(parsed, ref)]
        except (BadJSON, BadMessage) as refusal:
            self._strikes += 1
            answer: list[Step] = [Send(messages.error(refusal, ref), refusal.code)]
            if self._strikes >= MAX_STRIKES:
                answer.append(
                    self.close(BadMessage.close_code, "this is not the notifier.v1 protocol")
                )
            return answer
        except NotifierError as refusal:
            return [Send(messages.error(refusal, ref), refusal.code)]

    def decline(self, message: str | bytes, refusal: NotifierError) -> list[Send]:
        """What to do about a message that is refused whatever it says."""
        if self.state is State.CLOSED:
            return []
        ref: Ref = None
        if len(message) <= _MAX_DECLINED:
            with suppress(NotifierError):
                ref = _ref(_object(message))
        return [Send(messages.error(refusal, ref), refusal.code)]

    def drain(self, after_ms: int) -> list[Send]:
        """The node leaves: tell the client when to come back elsewhere."""
        if self.state is not State.OPEN:
            return []
        self.state = State.LEAVING
        return [Send(messages.reconnect(after_ms))]

    def close(self, code: int, reason: str) -> Close:
        self.state = State.CLOSED
        return Close(code, reason)

    def lost(self) -> None:
        """The connection is gone."""
        self.state = State.CLOSED

    def _command(self, parsed: dict[str, Any], ref: Ref) -> Command:
        kind = parsed.pop("type", None)
        if not isinstance(kind, str) or kind not in _MEMBERS:
            raise _unknown_type(kind)
        if kind in _REFUSED[self.state]:
            raise Draining("This node is about to leave: subscribe where you reconnect to.")
        for name in parsed:
            if name not in _MEMBERS[kind]:
                raise unknown_field(name, name, _MEMBERS[kind])
        match kind:
            case "subscribe":
                channel = check_name(parsed.get("channel"), longest=self._longest)
                return Subscribe(channel, _since(parsed), ref, _presence(parsed))
            case "unsubscribe":
                return Unsubscribe(check_name(parsed.get("channel")), ref)
            case "publish":
                return Publish(parsed, ref)
            case "history":
                channel = check_channel(parsed.get("channel"), longest=self._longest)
                return ReadHistory(channel, _since(parsed), _limit(parsed), ref)
            case "presence":
                return ReadPresence(
                    check_channel(parsed.get("channel"), longest=self._longest), ref
                )
            case "authenticate":
                return Authenticate(_token(parsed), ref)
            case _:
                return Ping(ref)


def _object(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        raise BadMessage("Commands are text messages, this was a binary one.")
    parsed = parse_json(message)
    if not isinstance(parsed, dict):
        raise BadMessage("A command is a JSON object.")
    return parsed


def _ref(parsed: dict[str, Any]) -> Ref:
    ref = parsed.pop("ref", None)
    if ref is None or (type(ref) is int and abs(ref) < 2**63):
        return ref
    if isinstance(ref, str) and len(ref) <= _MAX_REF:
        return ref
    raise BadField(f"ref is a string of at most {_MAX_REF} characters or an integer.", field="ref")


def _unknown_type(kind: object) -> UnknownType:
    known = ", ".join(_MEMBERS)
    if kind is None:
        return UnknownType(f"The message has no type. It is one of {known}.")
    near = difflib.get_close_matches(str(kind)[:60], list(_MEMBERS), n=1)
    if near:
        return UnknownType(
            f"There is no type {str(kind)[:60]!r}. Did you mean {near[0]!r}?",
            nearest=near[0],
        )
    return UnknownType(f"There is no type {str(kind)[:60]!r}. It is one of {known}.")


def _since(parsed: dict[str, Any]) -> str | None:
    since = parsed.get("since")
    if type(since) is int:
        return str(since)  # a count (-20) or seconds
    if since is None or isinstance(since, str):
        return since
    raise BadField("since is a string.", field="since")


def _token(parsed: dict[str, Any]) -> str:
    token = parsed.get("token")
    if not isinstance(token, str) or not token:
        raise BadField(f"token is a string of 1 to {_MAX_TOKEN} characters.", field="token")
    if len(token) > _MAX_TOKEN:
        # As HTTP says it of one in a header.
        raise BadCredential(f"A key or a token is 1 to {_MAX_TOKEN} characters long.")
    return token


def _presence(parsed: dict[str, Any]) -> bool:
    presence = parsed.get("presence")
    if presence is None or isinstance(presence, bool):
        return presence is True
    raise BadField("presence is true or false.", field="presence")


def _limit(parsed: dict[str, Any]) -> int | None:
    limit = parsed.get("limit")
    if limit is None or (type(limit) is int and limit > 0):
        return limit
    raise BadField("limit is an integer above 0.", field="limit")
