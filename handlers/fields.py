"""The fields of a notification, in the description of what publishes one."""

from __future__ import annotations

from collections.abc import Mapping

from handlers import answers
from handlers.described import JSON, TEXT, Answer, Parameter, Shape
from handlers.intake import HEADER_FIELDS
from notifier.errors import (
    BadBody,
    BadChannel,
    BadField,
    BadJSON,
    BadParameter,
    BodyStalled,
    BodyTooLarge,
    BrokerUnavailable,
    Draining,
    IdempotencyConflict,
    NotifierError,
    PublishingTooFast,
    TooManyChannels,
    TooManyItems,
    UnknownField,
    UnsupportedCoding,
)
from notifier.fields import Fields

TEXTS: Mapping[str, str] = {
    "channel": "Where to; not both this and `channels`.",
    "channels": "Where to, if to several; may be repeated, or separated by commas.",
    "id": "Its own id, 1 to 200 characters; also an idempotency key.",
    "title": "Text of at most 1000 characters.",
    "message": "Text.",
    "priority": "1 to 5, or `min`, `low`, `default`, `high`, `max`.",
    "tags": "At most 50, of 1 to 100 characters, separated by commas.",
    "click": "A link.",
    "icon": "An `http` or `https` URL, or a path from `/`.",
    "actions": "At most 10 things the reader may do, as JSON.",
    "data": "Any JSON.",
    "key": "A later notification with the same key updates the earlier one on the page.",
    "expires": "A duration such as `10m`, a number of seconds, or an RFC 3339 time.",
    "content_type": "Of `data_base64`.",
    "data_base64": "Bytes.",
}
_FIRST: Mapping[str, str] = {"title": "db1", "priority": "high", "tags": "disk,db"}

PARAMETERS = (
    Parameter(
        name="answers",
        text="For a body of lines, and refused with any other (40002): `all` answers each as it "
        "goes, in `application/x-ndjson`.",
        shape={"type": "string", "enum": ["summary", "all"], "default": "summary"},
    ),
    *(
        Parameter(name=name, text=text, many=name in ("channel", "channels"))
        for name, text in TEXTS.items()
    ),
    Parameter(
        name="Idempotency-Key",
        where="header",
        text="A repeat under the same key answers what the first answered, and stores nothing.",
        shape={"type": "string", "pattern": "^[!-~]{1,200}$"},
        example="backup-2026-11-22",
    ),
    Parameter(
        name="Content-Encoding",
        where="header",
        text="How the body is compressed.",
        shape={"type": "string", "enum": ["identity", "gzip", "deflate"]},
    ),
    *(
        Parameter(
            name=name.title(), where="header", text=TEXTS[name], example=_FIRST.get(name)
        )
        for name in HEADER_FIELDS
    ),
)  # fmt: skip

_FORM: Shape = {
    "type": "object",
    "properties": {name: {"type": "string", "description": text} for name, text in TEXTS.items()},
    "additionalProperties": False,
}
_UPLOAD: Shape = {
    "type": "object",
    "properties": {
        **{name: {"type": "string", "description": text} for name, text in TEXTS.items()},
        "file": {"type": "string", "format": "binary"},
    },
}
BODY: Mapping[str, Shape] = {
    JSON: Fields | list[Fields],
    "application/x-ndjson": {"type": "string", "description": "A notification a line."},
    "text/plain": {"type": "string", "description": "The message."},
    "application/x-www-form-urlencoded": _FORM,
    "multipart/form-data": _UPLOAD,
    "application/octet-stream": {"type": "string", "format": "binary"},
}
ANSWERS = {
    200: Answer(
        "All of it was stored, or had been under the same key.",
        {JSON: answers.Published, "application/x-ndjson": TEXT},
        {"Idempotent-Replayed": "`true`: it had been stored before."},
    ),
    207: Answer("Not all of it was stored.", {JSON: answers.PublishedInPart}),
}
ERRORS: tuple[type[NotifierError], ...] = (
    BadJSON,
    UnknownField,
    BadField,
    BadChannel,
    BadParameter,
    BadBody,
    BodyStalled,
    IdempotencyConflict,
    BodyTooLarge,
    TooManyItems,
    UnsupportedCoding,
    PublishingTooFast,
    BrokerUnavailable,
    Draining,
    TooManyChannels,
)
