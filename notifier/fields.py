"""The fields of a notification: what each may hold, and what is said of those that break a rule."""

from __future__ import annotations

import base64
import binascii
import difflib
from collections.abc import Mapping
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
from notifier.instants import parse_instant

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
RULES: TypeAdapter[Fields] = TypeAdapter(Fields)
FIELDS = frozenset(Fields.__annotations__)
# Characters of a name nobody knows that are shown, and compared with those we know.
_SHOWN = 60


def translated(error: ValidationError) -> NotifierError:
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
