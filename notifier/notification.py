"""What a producer sends, and what becomes of it.

A *notification* is what a producer sends. It is validated here, once; from then on its own
fields are opaque JSON bytes. A *draft* is such a notification on its way into one channel. Given
an offset it is a *publication*, and its *position* says where it stands: ``epoch:offset``.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypedDict

from notifier.durations import parse_duration
from notifier.errors import BadField, NotifierError, UnknownField
from notifier.instants import format_instant, parse_instant
from notifier.value import value

# --- positions -------------------------------------------------------------------------------

_POSITION = re.compile(r"([0-9A-Za-z]{1,32}):(0|[1-9][0-9]{0,17})", re.ASCII)


@value
class Position:
    """A place in a channel's log: *after* the publication with this offset.

    :param epoch: the log's random tag, letters and digits.
    :param offset: 0 is the place before the first publication.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """:raises ValueError: when the text is not ``epoch:offset``."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:60]!r} is not a position such as k3Jd9wQa:42")
        return cls(match[1], int(match[2]))


# --- the rules of the fields -----------------------------------------------------------------

_PRIORITIES = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5, "urgent": 5}
_WEB_SCHEMES = frozenset({"http", "https"})
_LINK_SCHEMES = frozenset({"http", "https", "mailto", "tel", "sms", "geo"})


def _priority(value: object) -> object:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _PRIORITIES:
            return _PRIORITIES[word]
        value = int(word) if word.isascii() and word.isdigit() and len(word) < 4 else value
    if type(value) is not int or not 1 <= value <= 5:
        raise ValueError("must be 1 to 5, or one of min, low, default, high, max")
    return value


def _tags(value: object) -> object:
    if isinstance(value, str):
        return [tag for tag in (part.strip() for part in value.split(",")) if tag]
    return value


def _link(value: str) -> str:
    return _address(value, _LINK_SCHEMES)


def _web_address(value: str) -> str:
    return _address(value, _WEB_SCHEMES)


def _address(value: str, schemes: frozenset[str]) -> str:
    """A URL with one of the schemes, or a path on this very server."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("must be a URL") from None
    scheme = parts.scheme.lower()
    if not value.isprintable() or " " in value:
        raise ValueError("must be a URL, without spaces and control characters")
    if scheme in _WEB_SCHEMES and not parts.netloc:
        raise ValueError("must be a URL with a host")
    # Browsers take // and /\ for the beginning of another site's address.
    path = value.startswith("/") and not value.startswith(("//", "/\\"))
    if scheme in schemes or path:
        return value
    raise ValueError(
        f"must be a URL that starts with one of {', '.join(sorted(schemes))}, or a path from /"
    )


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be base64 (RFC 4648 §4, padded)") from None
    return value


def _expiry(value: object) -> object:
    """Seconds from now as a float, or milliseconds since 1970 as an int."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a duration such as 10m, a number of seconds, or a time")
    if isinstance(value, str):
        try:
            seconds: float = parse_duration(value)
        except ValueError:
            try:
                return parse_instant(value)
            except ValueError:
                pass
            raise ValueError("must be a duration such as 10m, or an RFC 3339 time") from None
    else:
        seconds = value
    # Compared before it is made a float: an integer may be too large to be one.
    if not 0 < seconds <= 10 * 366 * 86400:
        raise ValueError("must be more than nothing and at most ten years")
    return float(seconds)


def _encodable(value: str) -> str:
    """Text in a legacy charset (UTF-7) can hold half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not hold lone surrogates") from None
    return value


def _json_value(value: Any) -> Any:
    """From here on it is opaque, so what JSON can't say is refused here."""
    try:
        # Inside the object it will be a level deeper.
        finite = to_json([value], inf_nan_mode="null")
        if finite == to_json([value], inf_nan_mode="constants"):
            return value
    except PydanticSerializationError:
        raise ValueError("must be JSON, without lone surrogates and not nested deeply") from None
    raise ValueError("must not hold numbers too large for a double, such as 1e400")


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must hold printable characters only")
    return value


# What a rule takes beside the type that it makes of it, for those who ask for its JSON Schema.
_PRIORITY_SHAPE = WithJsonSchema({"enum": [1, 2, 3, 4, 5, *_PRIORITIES]})
_CHANNEL_SHAPE = WithJsonSchema({"type": "string"})
_CHANNELS_SHAPE = WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1})
_TAGS_SHAPE = WithJsonSchema(
    {
        "anyOf": [
            {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 100},
                "maxItems": 50,
            },
            {"type": "string"},
        ]
    }
)
_EXPIRY_SHAPE = WithJsonSchema(
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}
)

Link = Annotated[str, Field(max_length=2048), AfterValidator(_link)]
Text = Annotated[str, AfterValidator(_encodable)]
WebAddress = Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


@with_config(ConfigDict(extra="forbid", strict=True))
class Action(TypedDict):
    """Something the reader may do: open a page (``view``) or send a request (``http``)."""

    action: Literal["view", "http"]
    label: Annotated[str, Field(min_length=1, max_length=200)]
    url: WebAddress
    method: NotRequired[Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None]
    headers: NotRequired[dict[Text, Text] | None]
    body: NotRequired[Text | None]


@with_config(ConfigDict(extra="forbid"))
class Fields(TypedDict, total=False):
    """What a notification may hold; in this order it is told and fingerprinted."""

    channel: Annotated[Any, _CHANNEL_SHAPE]
    channels: Annotated[list[Any], _CHANNELS_SHAPE]
    id: Name

    title: Annotated[str, Field(max_length=1000)]
    message: Text
    priority: Annotated[int, BeforeValidator(_priority), _PRIORITY_SHAPE]
    tags: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100)]],
        Field(max_length=50),
        BeforeValidator(_tags),
        _TAGS_SHAPE,
    ]
    click: Link
    icon: WebAddress
    actions: Annotated[list[Action], Field(max_length=10)]
    data: Annotated[Any, AfterValidator(_json_value)]
    key: Name
    expires: Annotated[float | int, BeforeValidator(_expiry), _EXPIRY_SHAPE]
    content_type: Annotated[str, Field(max_length=200), AfterValidator(_printable)]
    data_base64: Annotated[str, AfterValidator(_base64)]


# A dict that is checked costs a fifth of a model: there is one for every publication (ADR 0009).
_FIELDS: TypeAdapter[Fields] = TypeAdapter(Fields)


@value
class Notification:
    """What a producer sends: where to, and what. Made by :meth:`parse`.

    :param fields: those that it has, valid, in the order of :class:`Fields`.
    """

    fields: Fields

    @classmethod
    def parse(cls, fields: object) -> Notification:
        """The notification, or the first rule it breaks.

        A field that is ``null`` counts as absent, except ``data``, which may be any JSON.

        :raises UnknownField:
        :raises BadField:
        """
        if not isinstance(fields, dict):
            raise BadField("A notification must be a JSON object.", field="")
        present = fields
        if None in fields.values():
            present = {k: v for k, v in fields.items() if v is not None or k == "data"}
        try:
            valid = _FIELDS.validator.validate_python(present)
        except ValidationError as error:
            raise _translated(error) from None
        if not (
            present.get("message") or present.get("title") or not _PAYLOADS.isdisjoint(present)
        ):
            raise BadField(
                "There is nothing to show: give at least one of message, title, data, data_base64.",
                field="message",
            )
        return cls(valid)

    @classmethod
    def of_payload(cls, payload: str | bytes) -> Notification:
        """A text, which may be empty, or bytes; and nothing else."""
        if isinstance(payload, str):
            return cls({"message": payload})
        return cls(
            {
                "content_type": "application/octet-stream",
                "data_base64": base64.b64encode(payload).decode(),
            }
        )

    @property
    def channel(self) -> object:
        """What is given as the channel's name, not yet checked."""
        return self.fields.get("channel")

    @property
    def channels(self) -> list[Any] | None:
        """What is given as names, if there may be several."""
        return self.fields.get("channels")

    @property
    def id(self) -> str | None:
        return self.fields.get("id")

    def fingerprint(self) -> bytes:
        """16 bytes that tell two bodies sent under one idempotency key apart."""
        return hashlib.blake2b(to_json(self.fields), digest_size=16).digest()

    def draft(self, channel: str, *, id: str, now_ms: int) -> Draft:
        """The notification on its way into ``channel``.

        :raises BadField: when it has expired already.
        """
        fields = self.fields
        body = to_json(fields, exclude=_ENVELOPE)[1:-1]
        expires = fields.get("expires")
        if expires is None:
            return Draft(channel, id, now_ms, body, fields.get("key"))
        expires_ms = expires if isinstance(expires, int) else now_ms + max(1, round(expires * 1000))
        if expires_ms <= now_ms:
            raise BadField("expires is in the past.", field="expires")
        comma = b"," if body else b""
        body += comma + b'"expires":"' + format_instant(expires_ms).encode() + b'"'
        return Draft(channel, id, now_ms, body, fields.get("key"), expires_ms)


_ENVELOPE = {"channel", "channels", "id", "expires"}
_PAYLOADS = frozenset({"data", "data_base64"})
# Characters of a name nobody knows that are shown, and compared with those we know.
_SHOWN = 60
FIELDS = frozenset(Fields.__annotations__)


def _translated(error: ValidationError) -> NotifierError:
    """The first thing wrong, in the user's words."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    # A misspelt name also leaves the right one missing: the misspelling is what to tell.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where = [str(part) for part in first["loc"]]
    field = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = frozenset(Action.__annotations__) if where[0] == "actions" else FIELDS
        return unknown_field(field, where[-1], known)
    field = field[:_SHOWN]  # names of headers are the sender's
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return BadField(f"{field}: {rule[:1].lower()}{rule[1:]}.", field=field)


def unknown_field(field: str, name: str, known: Mapping[str, Any] | frozenset[str]) -> UnknownField:
    """The refusal that names the nearest known field."""
    field, name = field[:_SHOWN], name[:_SHOWN]
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    if near:
        return UnknownField(
            f"There is no field {field!r}. Did you mean {near[0]!r}?", field=field, nearest=near[0]
        )
    names = ", ".join(sorted(known)) or "none"
    return UnknownField(f"There is no field {field!r}. Known fields: {names}.", field=field)


# --- in a channel ----------------------------------------------------------------------------

# What the objects around a publication's body are reckoned at where memory is bounded.
OBJECT_BYTES = 400


@value
class Draft:
    """A notification on its way into one channel, still without an offset.

    :param body: the members of its JSON object, without the braces; may be empty.
    """

    channel: str
    id: str
    time_ms: int
    body: bytes
    key: str | None = None
    expires_ms: int | None = None

    @property
    def size(self) -> int:
        """What its publication will be reckoned at."""
        return len(self.body) + OBJECT_BYTES


@value
class Publication:
    """A notification that has its place in a channel.

    :param position: ``None`` in an ephemeral channel.
    :param body: as in :class:`Draft`.
    """

    channel: str
    position: Position | None
    id: str
    time_ms: int
    body: bytes
    key: str | None = None
    expires_ms: int | None = None

    @property
    def size(self) -> int:
        """Bytes it is reckoned at where memory is bounded: its body and the objects around it."""
        return len(self.body) + OBJECT_BYTES

    def expired(self, now_ms: int) -> bool:
        return self.expires_ms is not None and self.expires_ms <= now_ms


@dataclass(frozen=True, slots=True)
class Gap:
    """Publications that can't be delivered: those strictly between two positions.

    :param after: the last one the subscriber has; ``None`` when that is not known.
    :param before: the next one it will get.
    """

    channel: str
    after: Position | None
    before: Position

    @property
    def position(self) -> Position:
        """Where its reader is, having been told."""
        return Position(self.before.epoch, self.before.offset - 1)
