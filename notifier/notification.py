"""What a producer sends, and what becomes of it.

A *notification* is what a producer sends. It is validated here, once; from then on its own
fields are opaque JSON bytes. A *draft* is such a notification on its way into one channel. Given
an offset it is a *publication*, and its *position* says where it stands: ``epoch:offset``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from notifier.errors import BadField
from notifier.fields import RULES, Fields, translated
from notifier.instants import format_instant
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


# --- from the producer ------------------------------------------------------------------------

_ENVELOPE = {"channel", "channels", "id", "expires"}
_PAYLOADS = frozenset({"data", "data_base64"})


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
            valid = RULES.validator.validate_python(present)
        except ValidationError as error:
            raise translated(error) from None
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

    def at(self, position: Position | None) -> Publication:
        """It has its place; ``None`` in an ephemeral channel."""
        return Publication(
            self.channel,
            position,
            self.id,
            self.time_ms,
            self.body,
            self.key,
            self.expires_ms,
        )

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
