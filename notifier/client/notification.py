"""What a subscription tells."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True, repr=False)
class Notification:
    """A publication of a channel, as the server sent it.

    What its producer did not give is ``None`` (``tags`` and ``actions``: empty).

    :param raw: the JSON object, members of later versions included.
    """

    raw: Mapping[str, Any]

    def __repr__(self) -> str:
        what = self.title or self.message or ""
        return f"<Notification {self.channel} {self.position or self.id} {what[:60]!r}>"

    @property
    def channel(self) -> str:
        return str(self.raw["channel"])

    @property
    def position(self) -> str | None:
        """Its place in the channel, to be given as ``since``; ``None`` in an ephemeral one."""
        return self.raw.get("position")

    @property
    def offset(self) -> int | None:
        return self.raw.get("offset")

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def time(self) -> datetime:
        """When it was published, in UTC."""
        return datetime.fromisoformat(self.raw["time"])

    @property
    def title(self) -> str | None:
        return self.raw.get("title")

    @property
    def message(self) -> str | None:
        return self.raw.get("message")

    @property
    def priority(self) -> int:
        """From 1, least, to 5, most; 3 when its producer did not say."""
        return int(self.raw.get("priority", 3))

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.raw.get("tags", ()))

    @property
    def click(self) -> str | None:
        return self.raw.get("click")

    @property
    def icon(self) -> str | None:
        return self.raw.get("icon")

    @property
    def actions(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.raw.get("actions", ()))

    @property
    def data(self) -> Any:
        """Any JSON; whether it was given at all, ``"data" in n.raw`` says."""
        return self.raw.get("data")

    @property
    def key(self) -> str | None:
        """A later notification with the same key takes its place."""
        return self.raw.get("key")

    @property
    def expires(self) -> datetime | None:
        text = self.raw.get("expires")
        return None if text is None else datetime.fromisoformat(text)

    @property
    def content_type(self) -> str | None:
        return self.raw.get("content_type")

    @property
    def content(self) -> bytes | None:
        """The bytes it carries."""
        text = self.raw.get("data_base64")
        return None if text is None else base64.b64decode(text)


@dataclass(frozen=True, slots=True)
class Gap:
    """Publications that were missed and can't be had any more: those strictly between.

    :param after: position of the last one that was delivered; ``None`` when it is not known.
    :param before: position of the next one.
    """

    channel: str
    after: str | None
    before: str

    @property
    def raw(self) -> dict[str, Any]:
        """As the server tells it."""
        return {
            "type": "gap",
            "channel": self.channel,
            "after": self.after,
            "before": self.before,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the connection of a subscription.

    :param state: ``open``: all channels are followed. ``waiting``: the connection was lost, or
        could not be made; the next try is in ``retry_in`` seconds. ``moving``: the server is
        about to leave, so the next connection is made before this one ends.
    :param reason: why it is no longer ``open``.
    """

    state: Literal["open", "waiting", "moving"]
    reason: str = ""
    retry_in: float = 0.0
