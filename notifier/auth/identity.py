"""Who asks, and what they were granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.instants import format_instant


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: nobody in particular, a producer by its key, or a listener by its token.

    It holds no secret and may be logged.

    :param name: the key's name, the token's ``sub``; empty for nobody.
    :param grants: where it may do what by itself, whatever the rules of a namespace are.
    :param expires_at: seconds since 1970, from which on it counts no more.
    :param credential_id: the key's id, or the token's ``jti``, by which it can be revoked.
    :param issued_at: seconds since 1970, where a token says it.
    :param info: JSON that presence shows of it.
    :param verified_by: the fingerprint of the public key that verified the token: when that key
        counts no more, nor does the token.
    """

    kind: Literal["anonymous", "key", "token"]
    name: str = ""
    grants: Mapping[Scope, Reach] = field(default_factory=dict)
    expires_at: float | None = None
    credential_id: str | None = None
    info: bytes | None = None
    verified_by: str | None = None
    issued_at: float | None = None

    @property
    def user(self) -> str | None:
        """Whom a token speaks for; keys and strangers are no users."""
        return self.name if self.kind == "token" else None

    @property
    def producer(self) -> str:
        """Whose idempotency keys are whose; a key and a token of one name are two."""
        return f"{self.kind}:{self.name}" if self.name else ""

    def is_granted(self, scope: Scope, channel: str) -> bool:
        """Whether it may do that on the channel, or on all of a pattern, by itself."""
        reach = self.grants.get(scope)
        return reach is not None and reach.covers(channel)

    def describe(self) -> dict[str, Any]:
        """As whoever it is sees it."""
        expires = self.expires_at
        return {
            "kind": self.kind,
            "name": self.name,
            "grants": {scope.value: reach.texts() for scope, reach in self.grants.items()},
            "expires": None if expires is None else format_instant(round(expires * 1000)),
        }

    def is_expired(self, now: float) -> bool:
        """:param now: seconds since 1970."""
        return self.expires_at is not None and now >= self.expires_at


ANYBODY = Identity("anonymous")
