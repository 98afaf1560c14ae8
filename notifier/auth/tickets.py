"""Tickets: one connect's worth of an identity, for clients that can send no header.

A ticket stands in a URL, and URLs are logged and kept; so it is good once, and only for seconds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from hashlib import sha256

from pydantic_core import from_json, to_json

from notifier.auth.identity import Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.auth.shelf import Shelf
from notifier.auth.unspent import Unspent
from notifier.limits import bucket_of

_RANDOM_BYTES = 32
_TEXT = re.compile(rf"ticket_[0-9a-f]{{{2 * _RANDOM_BYTES}}}", re.ASCII)


class Tickets:
    """Gives them out and takes them in.

    :param shelf: where they are until somebody shows them: by their digest, so that who sees what
        is kept there has no ticket.
    :param unspent: those that are there, and how many there may be.
    :param random: that many bytes nobody can guess.
    """

    def __init__(
        self,
        shelf: Shelf,
        unspent: Unspent | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._shelf = shelf
        self._unspent = Unspent() if unspent is None else unspent
        self._random = random

    async def issue(self, identity: Identity, seconds: float, *, address: str = "") -> str:
        """A ticket for it, good for so long. When the identity ends is for others to look at.

        :param address: where it is asked for; whom it is for, where that is nobody in particular.
        :raises TooManyTicketsOfUser:
        :raises TooManyTickets:
        :raises BrokerUnavailable:
        """
        text = f"ticket_{self._random(_RANDOM_BYTES).hex()}"
        digest = _digest(text)
        # It counts from before it is kept, and also if nobody knows whether it is: a Redis that
        # keeps things and can't say so must not be filled.
        self._unspent.add(digest, bucket_of(identity.producer, address), seconds)
        await self._shelf.put(digest, pack(identity), seconds)
        return text

    async def redeem(self, text: str) -> Identity | None:
        """Whose ticket it is, the first time; None when it is no ticket, or no longer one.

        :param text: what was sent, whatever it is.
        :raises BrokerUnavailable: the same ticket may be good no longer.
        """
        if not looks_like_ticket(text):
            return None
        digest = _digest(text)
        packed = await self._shelf.take(digest)
        self._unspent.remove(digest)
        return None if packed is None else unpack(packed)

    async def look_at(self, text: str) -> Identity | None:
        """Whose ticket it is, which it stays; None as for :meth:`redeem`.

        :raises BrokerUnavailable:
        """
        if not looks_like_ticket(text):
            return None
        packed = await self._shelf.look(_digest(text))
        return None if packed is None else unpack(packed)


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
            "verified_by": identity.verified_by,
            "issued_at": identity.issued_at,
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
        # Nodes of before give none.
        verified_by=value.get("verified_by"),
        issued_at=value.get("issued_at"),
    )


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
