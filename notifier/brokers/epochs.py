"""Tags that tell a channel's log from the one before it, and how long they are kept."""

from __future__ import annotations

import secrets
import string

# An offset counter outlives its channel's history by this (DESIGN promise: 30 days at least).
COUNTER_SECONDS = 30 * 86400

_ALPHABET = string.ascii_letters + string.digits


def new_epoch() -> str:
    """A tag no other log has: 8 letters and digits, 47 random bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
