"""Producers' API keys: ``nk_<id>_<secret>``.

Of a key only the SHA-256 of its secret is kept. A slow hash would add nothing: it makes guessing
dear where people choose what is to be guessed, and nobody guesses 256 random bits.

Nothing is remembered of texts that were good before: to look one up, it would have to be hashed
too, so that of the microsecond :meth:`Keys.identify` takes half would be left, and a key that was
revoked would have to be forgotten in two places.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from notifier.auth.identity import Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.errors import BadCredential, ExpiredCredential

_LETTERS = string.ascii_letters + string.digits
_ID_LETTERS, _SECRET_LETTERS = 12, 43  # 62**43 is a little more than 2**256
_TEXT = re.compile(
    rf"nk_([0-9A-Za-z]{{{_ID_LETTERS}}})_([0-9A-Za-z]{{{_SECRET_LETTERS}}})", re.ASCII
)
_ID = re.compile(rf"[0-9A-Za-z]{{{_ID_LETTERS}}}", re.ASCII)
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.@-]{0,63}", re.ASCII)
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, as it is kept.

    :param digest: SHA-256 of the secret.
    :param channels: names and patterns on which it may do what its scopes say.
    :param created: seconds since 1970.
    :param expires: seconds since 1970, from which on it counts no more.
    :raises ValueError: a part breaks its rule; the sentence says which.
    """

    name: str
    id: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope]
    channels: Reach
    created: float
    expires: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name[:70]!r} is not a key's name: write up to 64 letters and digits "
                "(A-Z, a-z, 0-9), and _ . @ - after the first"
            )
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a key's id is {_ID_LETTERS} letters and digits")
        if len(self.digest) != _DIGEST_BYTES:
            raise ValueError(f"a key's digest is {_DIGEST_BYTES} bytes")
        if not self.scopes:
            raise ValueError("a key needs a scope, or it could do nothing")
        of_channels = sorted(self.scopes & OF_CHANNELS)
        if of_channels and not self.channels:
            raise ValueError(
                f"a key that may {of_channels[0].deed} needs channels to do so; * is all"
            )

    def is_expired(self, now: float) -> bool:
        """:param now: seconds since 1970."""
        return self.expires is not None and now >= self.expires

    def identity(self) -> Identity:
        """Who asks with it."""
        grants = dict.fromkeys(self.scopes, self.channels)
        return Identity("key", self.name, grants, expires_at=self.expires, credential_id=self.id)


def make_key(
    name: str,
    *,
    scopes: Iterable[Scope],
    channels: Reach,
    created: float,
    expires: float | None = None,
) -> tuple[ApiKey, str]:
    """A new key, and its text, which nobody can find out again.

    :raises ValueError: a part breaks its rule, or channels would limit nothing that it may do.
    """
    scopes = frozenset(scopes)
    if channels and scopes and not scopes & OF_CHANNELS:
        raise ValueError(
            f"a key that may {' and '.join(scope.deed for scope in sorted(scopes))} may do so "
            "everywhere: name no channels"
        )
    id, secret = _random(_ID_LETTERS), _random(_SECRET_LETTERS)
    digest = sha256(secret.encode()).digest()
    key = ApiKey(name, id, digest, scopes, channels, created, expires)
    return key, f"nk_{id}_{secret}"


class Keys:
    """The keys that are good at the moment; never changed, but replaced as a whole.

    :raises ValueError: two have the same name or id.
    """

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._by_id: dict[str, tuple[ApiKey, Identity]] = {}
        names: set[str] = set()
        for key in keys:
            if key.name in names:
                raise ValueError(f"two keys have the name {key.name}")
            if key.id in self._by_id:
                raise ValueError(f"two keys have the id {key.id}")
            names.add(key.name)
            self._by_id[key.id] = key, key.identity()

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: object) -> bool:
        return id in self._by_id

    def identify(self, text: str, now: float) -> Identity:
        """Who has this key.

        The same is done whether the id is known or not, and the secrets' digests are compared in
        constant time: how long a refusal takes tells nothing of what is kept here.

        :param text: what was sent, whatever it is.
        :param now: seconds since 1970.
        :raises BadCredential: it is no key of ours; never which part of it was wrong.
        :raises ExpiredCredential: it was one.
        """
        parts = _TEXT.fullmatch(text)
        if parts is None:  # the shape is no secret
            raise _bad()
        key, identity = self._by_id.get(parts[1], _DECOY)
        is_same = hmac.compare_digest(sha256(parts[2].encode()).digest(), key.digest)
        if not is_same or key is _DECOY[0]:
            raise _bad()
        if key.is_expired(now):
            raise ExpiredCredential("This API key has expired; ask for a new one.")
        return identity


def looks_like_key(text: str) -> bool:
    """Whether it was meant to be a key, and not a token."""
    return text.startswith("nk_")


def _random(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def _bad() -> BadCredential:
    return BadCredential("This API key is not known here: it is mistyped, or was revoked.")


# What a secret under an unknown id is compared with.
_DECOY = (
    ApiKey(
        "decoy", "0" * _ID_LETTERS, bytes(_DIGEST_BYTES), frozenset({Scope.METRICS}), Reach(), 0
    ),
    Identity("anonymous"),
)
