"""Ids: of connections, and of notifications whose producers gave them none."""

from __future__ import annotations

import secrets
from collections.abc import Iterator


def new_ids() -> Iterator[str]:
    """Ids nobody else has: 16 letters, digits, ``-`` and ``_``; 96 random bits.

    The kernel is asked for some hundred at a time: alone, each would cost five times as much. It is
    asked when the first is, so a fork before that shares none.
    """
    while True:
        text = secrets.token_urlsafe(12 * 256)
        for start in range(0, len(text), 16):
            yield text[start : start + 16]
