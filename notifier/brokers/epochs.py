"""Tags that tell a channel's log from the one before it, and how long they are kept."""

from __future__ import annotations

import secrets
import string

from notifier.channels import Namespace

# An offset counter outlives its channel's history by this (DESIGN promise: 30 days at least).
COUNTER_SECONDS = 30 * 86400

_ALPHABET = (string.ascii_letters + string.digits).encode()
# From a random byte to a letter; some come a little more often, which costs half a bit in all.
_LETTER = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def new_epoch() -> str:
    """A tag no other log has: 8 letters and digits, 47 random bits."""
    return secrets.token_bytes(8).translate(_LETTER).decode()


def counter_ms(namespace: Namespace) -> int:
    """How many milliseconds after its last use a channel's counter may be forgotten."""
    return round((namespace.history_ttl + COUNTER_SECONDS) * 1000)
