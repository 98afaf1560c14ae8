"""Making tokens, for tests and for those whose users have no other issuer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.algorithms import has_crypto

from notifier.auth.keyset import NEEDS_EXTRA, secret_key
from notifier.auth.tokens import MAX_TOKEN_BYTES, identity_of


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs, and the one algorithm it is for."""

    algorithm: str
    material: Any = field(repr=False)
    kid: str | None = None


def signing_secret(secret: str, kid: str | None = None) -> SigningKey:
    """:raises ValueError: it can be guessed, or is no secret at all."""
    key = secret_key(secret)
    return SigningKey(key.algorithm, key.material, kid)


def signing_key(pem: bytes, kid: str | None = None) -> SigningKey:
    """The private key in this PEM text.

    :raises ValueError: it holds none that signs tokens; never showing it.
    """
    if not has_crypto:
        raise ValueError(NEEDS_EXTRA)
    # Late: without the extra it is not there.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("it has a password; write it out without one first") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it holds no private key in PEM") from None
    match private:
        case RSAPrivateKey() if private.key_size >= 2048:
            return SigningKey("RS256", private, kid)
        case EllipticCurvePrivateKey() if isinstance(private.curve, SECP256R1):
            return SigningKey("ES256", private, kid)
        case Ed25519PrivateKey():
            return SigningKey("EdDSA", private, kid)
        case _:
            raise ValueError("of keys, RSA from 2048 bits on, P-256 and Ed25519 sign tokens")


def make_token(claims: Mapping[str, Any], key: SigningKey) -> str:
    """The signed token.

    :raises BadCredential: a claim breaks a rule by which this service reads it.
    :raises ValueError: it would be too long to be read.
    """
    identity_of(dict(claims), claims["exp"])
    headers = {} if key.kid is None else {"kid": key.kid}
    token = jwt.encode(dict(claims), key.material, key.algorithm, headers=headers)
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"the token would be longer than {MAX_TOKEN_BYTES} bytes")
    return token
