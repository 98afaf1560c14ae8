"""Real keys of every algorithm, and tokens made without PyJWT's help where it would refuse."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from notifier.auth.keyset import Keyset, VerifyingKey, parse_keys, secret_key

SECRET = "kQ3vX9bT2nL7wZ5rY1mC8dF4gH6jP0sA"
NOW = 1_800_000_000.0
CLAIMS: dict[str, Any] = {"sub": "42", "exp": NOW + 3600}


@cache
def private(algorithm: str) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def jwk(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    """The public half as a JWK."""
    implementation: Any = jwt.get_algorithm_by_name(algorithm)
    return {**json.loads(implementation.to_jwk(key.public_key())), **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signer(algorithm: str) -> Any:
    return SECRET if algorithm == "HS256" else private(algorithm)


def keys_of(algorithm: str) -> Keyset:
    if algorithm == "HS256":
        return Keyset([secret_key(SECRET)])
    return parse_keys(public_pem(private(algorithm)))


def one_key(algorithm: str) -> VerifyingKey:
    return keys_of(algorithm).keys[0]


def token(
    claims: dict[str, Any] | None = None,
    algorithm: str = "HS256",
    *,
    headers: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    """A token with these claims; None leaves one out."""
    said = {**(CLAIMS if claims is None else claims), **changed}
    said = {name: value for name, value in said.items() if value is not None}
    # The plain JWS: PyJWT's encode() minds the types of claims, and we send it wrong ones.
    return jwt.PyJWS().encode(
        json.dumps(said).encode(), signer(algorithm), algorithm, headers=headers
    )


def raw_token(
    header: bytes,
    payload: bytes,
    secret: bytes = SECRET.encode(),
    *,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """Signed as told, else with HMAC-SHA256, whatever the header says."""
    signed = b".".join(map(_encode, (header, payload)))
    signature = sign(signed) if sign else hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + _encode(signature)).decode()


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
