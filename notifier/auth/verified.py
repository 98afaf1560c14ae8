"""Tokens that were verified before, and need not be again.

Verifying one takes from 35 µs (HS256) to 140 (EdDSA), and many who publish show the same with each
request. What is remembered is found by the SHA-256 of the token's text, so that who sees the memory
has no token. Only what was verified is ever in it: tokens that are refused push none out.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from notifier.auth.identity import Identity
from notifier.auth.keyset import Keyset
from notifier.auth.tokens import MAX_TOKEN_BYTES, Verified

MAX_TOKENS = 10_000
MAX_BYTES = 16 * 1024 * 1024

# What CPython 3.11 takes on 64 bits; a test compares it with what is taken.
_BYTES_EACH = 800
_BYTES_OF_REACH = 320
_BYTES_OF_NAME = 170


class VerifiedTokens:
    """What is known of tokens, for as long as the keys are those that verified them. Of more than
    it may hold, those go that were not used for longest.

    :param limit: tokens.
    :param max_bytes: of memory that they take, about.
    """

    def __init__(self, limit: int = MAX_TOKENS, max_bytes: int = MAX_BYTES) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._keys = Keyset()
        self._kept: OrderedDict[bytes, tuple[Verified, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, text: str, keys: Keyset) -> Verified | None:
        """What was kept of the token; when it counts, and whether it was revoked, is for others.

        :param text: what was sent, whatever it is.
        :param keys: those in force. When they are others than before, all is forgotten.
        """
        self._hold_to(keys)
        if not self._kept or len(text) > MAX_TOKEN_BYTES:
            return None
        digest = _digest(text)
        found = self._kept.get(digest)
        if found is None:
            return None
        self._kept.move_to_end(digest)
        return found[0]

    def keep(self, text: str, keys: Keyset, verified: Verified) -> None:
        """Keep what these keys, all of those in force, say of the token."""
        self._hold_to(keys)
        size = _bytes_of(verified.identity)
        digest = _digest(text)
        self.bytes += size - self._kept.pop(digest, (None, 0))[1]
        self._kept[digest] = verified, size
        while len(self._kept) > self._limit or self.bytes > self._max_bytes:
            self.bytes -= self._kept.popitem(last=False)[1][1]

    def _hold_to(self, keys: Keyset) -> None:
        if keys is not self._keys:
            self._kept.clear()
            self.bytes, self._keys = 0, keys


def _digest(text: str) -> bytes:
    # Lone surrogates may have come by JSON.
    return sha256(text.encode(errors="surrogatepass")).digest()


def _bytes_of(identity: Identity) -> int:
    """About what remembering it takes, and rather more than less."""
    size = _BYTES_EACH + 4 * len(identity.name) + len(identity.info or b"")
    # Most scopes share one.
    for reach in {id(reach): reach for reach in identity.grants.values()}.values():
        texts = reach.texts()
        size += _BYTES_OF_REACH + sum(_BYTES_OF_NAME + 4 * len(text) for text in texts)
    return size
