"""Tickets: one connect's worth of an identity, for clients that can send no header.

A ticket stands in a URL, and URLs are logged and kept; so it is good once, and only for seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

from pydantic_core import from_json, to_json

from notifier.auth.identity import Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope

_RANDOM_BYTES = 32
_TEXT = re.compile(rf"ticket_[0-9a-f]{{{2 * _RANDOM_BYTES}}}", re.ASCII)


class Tickets:
    """The tickets of this node.

    :param clock: seconds since 1970.
    :param random: that many bytes nobody can guess, such as ``secrets.token_bytes``.
    :param limit: tickets that are kept; of more, the oldest are good no longer.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        *,
        limit: int = 10_000,
    ) -> None:
        self._clock = clock
        self._random = random
        self._limit = limit
        # By the digest: how long looking one up takes tells nothing of those there are. The oldest
        # come first.
        self._kept: dict[bytes, tuple[float, bytes]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def issue(self, identity: Identity, ttl: float) -> str:
        """A ticket for it, good for ``ttl`` seconds and never longer than the identity is."""
        now = self._clock()
        self._drop_ended(now)
        while len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        until = now + ttl if identity.expires_at is None else min(now + ttl, identity.expires_at)
        text = f"ticket_{self._random(_RANDOM_BYTES).hex()}"
        self._kept[_digest(text)] = until, pack(identity)
        return text

    def redeem(self, text: str, now: float) -> Identity | None:
        """Whose ticket it is, the first time; None when it is no ticket, or no longer one.

        :param text: what was sent, whatever it is.
        """
        if not looks_like_ticket(text):
            return None
        until, packed = self._kept.pop(_digest(text), (0.0, b""))
        return unpack(packed) if now < until else None

    def _drop_ended(self, now: float) -> None:
        """Those at the front: most live equally long, and the limit bounds the others."""
        while self._kept and self._kept[next(iter(self._kept))][0] <= now:
            del self._kept[next(iter(self._kept))]


def looks_like_ticket(text: str) -> bool:
    return _TEXT.fullmatch(text) is not None


def pack(identity: Identity) -> bytes:
    """The identity as JSON, for whoever keeps it elsewhere."""
    return to_json(
        {
            "kind": identity.kind,
            "name": identity.name,
            "grants": {scope.value: reach.texts() for scope, reach in identity.grants.items()},
            "expires_at": identity.expires_at,
            "credential_id": identity.credential_id,
            "info": None if identity.info is None else identity.info.decode(),
        }
    )


def unpack(packed: bytes) -> Identity:
    """What :func:`pack` was given."""
    value = from_json(packed)
    return Identity(
        value["kind"],
        value["name"],
        {Scope(scope): Reach.of(texts) for scope, texts in value["grants"].items()},
        expires_at=value["expires_at"],
        credential_id=value["credential_id"],
        info=None if value["info"] is None else value["info"].encode(),
    )


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
