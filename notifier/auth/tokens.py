"""Tokens: a listener's JWT (RFC 7519), and what it says.

PyJWT's algorithms verify the signature. The rest of its ``decode`` is not used: it reads the clock
itself, takes the last of two claims of one name, and parses JSON of any depth.

What a token is refused for is told. Before the signature is verified that is its form alone, which
its bearer can see; after it, what its issuer wrote.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from notifier.auth.identity import Identity
from notifier.auth.keyset import MAX_KID_BYTES, Keyset, VerifyingKey
from notifier.auth.reach import Reach
from notifier.auth.revocations import MAX_TOKEN_ID_BYTES, Revocations
from notifier.auth.scopes import Scope
from notifier.errors import BadCredential, BadJSON, BadRequest, ExpiredCredential
from notifier.jsontext import parse_json

MAX_TOKEN_BYTES = 8192
MAX_HEADER_BYTES = 1024
MAX_SUBJECT_BYTES = 200
MAX_INFO_BYTES = 1024
MAX_CHANNELS = 100
MAX_LIFE_SECONDS = 365 * 86400.0
LEEWAY_SECONDS = 30.0  # by which the issuer's clock may be ahead of ours
# The last second before the year 10000, which no calendar here can write; what is before it can
# be rounded.
LATEST = 253402300799.0
_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose form is good, and nothing else known of it. Made by :meth:`parse`.

    :param algorithm: what its header says; it decides nothing.
    :param kid: the key it means.
    """

    algorithm: str
    kid: str | None
    _signed: bytes = field(repr=False)
    _payload: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Token:
        """:raises BadCredential: it is no signed token, or too long."""
        # Characters are bytes here: others than ASCII are none of the alphabet.
        if len(text) > MAX_TOKEN_BYTES:
            raise BadCredential(f"This token is longer than {MAX_TOKEN_BYTES} bytes.")
        parts = text.split(".", 3)
        if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
            raise BadCredential(
                "This is neither a token (three parts in base64url) nor a key (nk_…)."
            )
        if len(parts[0]) > MAX_HEADER_BYTES:
            raise BadCredential(f"This token's header is longer than {MAX_HEADER_BYTES} bytes.")
        header = _object(_decoded(parts[0]), "header")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str):
            raise BadCredential("This token's header names no algorithm.")
        if algorithm.lower() == "none":
            raise BadCredential("This token is not signed.")
        # RFC 7515 §4.1.11: what is critical must be understood, and we understand nothing more.
        # b64 changes what is signed (RFC 7797).
        if "crit" in header or "b64" in header:
            raise BadCredential("This token's header has an extension that is not known here.")
        if kid is not None and not _is_text(kid, MAX_KID_BYTES):
            raise BadCredential(f"This token's kid is no string of at most {MAX_KID_BYTES} bytes.")
        signed = text.rpartition(".")[0].encode()
        return cls(algorithm, kid, signed, _decoded(parts[1]), _decoded(parts[2]))

    def verified_by(self, keys: Keyset) -> VerifyingKey:
        """The one of the keys that verifies it.

        :raises BadCredential: none does.
        """
        candidates = keys.candidates(self.algorithm, self.kid)
        if not candidates:
            raise BadCredential("No key of this server fits this token.")
        fitting = [key for key in candidates if key.is_named(self.algorithm)]
        if not fitting:
            raise BadCredential("This token's algorithm is not that of its key.")
        for key in fitting:
            if key.verifies(self._signed, self._signature):
                return key
        raise BadCredential("This token's signature is not good.")

    def unverified_claims(self) -> dict[str, Any]:
        """What it says, whoever wrote it: not to be believed before it is verified.

        :raises BadCredential: it says it in no good form.
        """
        return _object(self._payload, "payload")


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature is good, and what it says. Of that nothing changes any more, but
    the time does, and what was revoked.

    :param not_before: seconds since 1970, from which on it counts.
    """

    identity: Identity
    not_before: float

    def check(self, now: float, revocations: Revocations) -> None:
        """See that it counts at this moment.

        :param now: seconds since 1970.
        :raises BadCredential: not yet, or it was revoked.
        :raises ExpiredCredential: no longer.
        """
        if now < self.not_before:
            raise BadCredential("This token is not good yet.")
        if self.identity.is_expired(now):
            raise ExpiredCredential("This token has expired; get a new one.")
        if revocations.covers(self.identity, now):
            raise BadCredential("This token was revoked.")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What this server asks of a token besides a good signature.

    :param audience: whom it must be for; without one, tokens that are for somebody are refused
        (RFC 7519 §4.1.3), since they are for somebody else.
    :param issuer: who must have written it.
    :param max_life: seconds from its ``iat``, or from now where it has none, to its ``exp``; so
        long it must be remembered that all of a user's were revoked. Nobody can tell when one
        without ``iat`` was issued: one that is too long is good when less of it is left, and if it
        was revoked longer ago than that, this is forgotten by then.
    """

    audience: str | None = None
    issuer: str | None = None
    max_life: float = MAX_LIFE_SECONDS

    def verify(self, token: Token, keys: Keyset, now: float) -> Verified:
        """Who has this token; whether it was revoked is not looked at.

        :param now: seconds since 1970.
        :raises BadCredential: it is not good here; the sentence says why.
        :raises ExpiredCredential: it was.
        """
        return self.read(token, token.verified_by(keys), now)

    def read(self, token: Token, key: VerifyingKey, now: float) -> Verified:
        """As :meth:`verify`, of a token that this key verifies."""
        claims = token.unverified_claims()
        not_before, expires_at = self.check(claims, now)
        return Verified(identity_of(claims, expires_at, key.fingerprint), not_before)

    def check(self, claims: dict[str, Any], now: float) -> tuple[float, float]:
        """From when until when it counts, in seconds since 1970, if it is for us and now.

        :raises BadCredential: it is not good here.
        :raises ExpiredCredential: it was.
        """
        expires_at = _moment(claims, "exp")
        if expires_at is None:
            raise BadCredential("This token has no exp: it would be good for ever.")
        not_before = 0.0
        for claim in ("nbf", "iat"):
            since = (_moment(claims, claim) or 0.0) - LEEWAY_SECONDS
            if since > now:
                raise BadCredential(f"This token is not good yet ({claim}).")
            not_before = max(not_before, since)
        self._check_parties(claims)
        if now >= expires_at:
            raise ExpiredCredential("This token has expired; get a new one.")
        issued_at = _moment(claims, "iat")
        if expires_at - (now if issued_at is None else issued_at) > self.max_life:
            raise BadCredential(
                f"This token lives longer than {_span(self.max_life)} (setting max_token_life)."
            )
        return not_before, expires_at

    def _check_parties(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self.audience is None:
            if audience is not None:
                raise BadCredential(
                    "This token is for somebody (aud), and the setting token_audience does not say "
                    "that it is us."
                )
        elif self.audience not in audiences:
            raise BadCredential("This token is not for this server (aud).")
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise BadCredential("This token is not by who may issue them (iss).")


def identity_of(
    claims: dict[str, Any], expires_at: float, verified_by: str | None = None
) -> Identity:
    """Whom the claims speak of, and what they grant.

    :param verified_by: the fingerprint of the key.
    :raises BadCredential: a claim breaks its rule.
    """
    subject, token_id = claims.get("sub"), claims.get("jti")
    if not _is_text(subject, MAX_SUBJECT_BYTES):
        raise BadCredential(f"This token's sub is no string of 1 to {MAX_SUBJECT_BYTES} bytes.")
    if token_id is not None and not _is_text(token_id, MAX_TOKEN_ID_BYTES):
        raise BadCredential(f"This token's jti is no string of 1 to {MAX_TOKEN_ID_BYTES} bytes.")
    return Identity(
        "token",
        subject,
        dict(_grants(claims)),
        expires_at=expires_at,
        credential_id=token_id,
        info=_info(claims),
        verified_by=verified_by,
        issued_at=_moment(claims, "iat"),
    )


def _grants(claims: dict[str, Any]) -> Iterator[tuple[Scope, Reach]]:
    channels = _reach(claims, "channels")
    if channels:
        for scope in (Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE):
            yield scope, channels
    match claims.get("publish"):
        case None | False:
            return
        case True:
            publish = channels
        case _:
            publish = _reach(claims, "publish")
    if publish:
        yield Scope.PUBLISH, publish


def _reach(claims: dict[str, Any], claim: str) -> Reach:
    channels = claims.get(claim)
    if channels is None:
        return Reach()
    if not isinstance(channels, list):
        raise BadCredential(f"This token's {claim} is no list of names and patterns.")
    if len(channels) > MAX_CHANNELS:
        raise BadCredential(f"This token's {claim} are more than {MAX_CHANNELS}.")
    try:
        return Reach.of(channels)
    except BadRequest as error:
        raise BadCredential(f"This token's {claim}: {error.message}") from None


def _info(claims: dict[str, Any]) -> bytes | None:
    if claims.get("info") is None:
        return None
    try:
        info = json.dumps(
            claims["info"], ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
    except ValueError:  # a number that became infinite
        raise BadCredential("This token's info is not JSON.") from None
    if len(encoded := info.encode()) > MAX_INFO_BYTES:
        raise BadCredential(f"This token's info is longer than {MAX_INFO_BYTES} bytes.")
    return encoded


def _moment(claims: dict[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise BadCredential(f"This token's {claim} is no time in seconds since 1970.")
    return float(value)


def _is_text(value: object, most_bytes: int) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value.encode()) <= most_bytes


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise BadCredential("This is no token: a part of it is not base64url.") from None


def _object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object, each of its names given once (RFC 7519 §4).

    :raises BadCredential: it is none.
    """
    try:
        parse_json(data)  # for its bound on depth, and RFC 8259 to the letter
        value = json.loads(data.decode(), object_pairs_hook=_once)
    except (BadJSON, ValueError):
        raise BadCredential(f"This token's {what} is not JSON that can be read.") from None
    if not isinstance(value, dict):
        raise BadCredential(f"This token's {what} is no JSON object.")
    return value


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a name is given twice")
    return value


def _span(seconds: float) -> str:
    return f"{seconds / 86400:.6g} days" if seconds >= 2 * 86400 else f"{seconds:.6g} seconds"
