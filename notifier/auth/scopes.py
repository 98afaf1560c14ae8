"""What an identity may be granted."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One kind of thing that can be allowed.

    The first four are about channels, so namespaces have rules for them; ``METRICS`` and ``ADMIN``
    are about the node as a whole.
    """

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    HISTORY = "history"
    PRESENCE = "presence"
    METRICS = "metrics"
    ADMIN = "admin"
