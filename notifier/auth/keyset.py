"""The keys with which tokens are verified.

Each fixes its algorithm. A token's header only says which key it means, so nobody can have a public
key taken for a secret, or a signature for none (RFC 8725 §3.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt
from jwt.algorithms import has_crypto

from notifier.errors import BadJSON
from notifier.jsontext import parse_json

MIN_SECRET_BYTES = 32  # RFC 7518 §3.2: as long as what the hash gives
_MIN_RSA_BITS = 2048  # RFC 7518 §3.3
_MAX_RSA_BITS = 8192  # verifying takes time that grows with its square
_MAX_KEYS = 100
# So many that a token without `kid` may fit; each costs a look at the signature.
_MAX_TRIES = 8
MAX_KID_BYTES = 200

NEEDS_EXTRA = (
    "keys of RS256, ES256 and EdDSA need the package cryptography: install notifier with its "
    "extra jwt (pip install 'notifier[jwt]')"
)
_NAMES = {
    "HS256": frozenset({"HS256"}),
    "RS256": frozenset({"RS256"}),
    "ES256": frozenset({"ES256"}),
    # RFC 9864 gives it the curve's name.
    "EdDSA": frozenset({"EdDSA", "Ed25519"}),
}
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_TAKEN = "of keys, RSA, P-256 (ES256) and Ed25519 (EdDSA) are taken"
_OTHER_PEM = "only PUBLIC KEY blocks are read"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and the one algorithm it is for.

    :param algorithm: HS256, RS256, ES256 or EdDSA.
    :param kid: the name by which tokens mean it; without one, each token of its algorithm may.
    :param material: as PyJWT's algorithm has prepared it.
    :param fingerprint: SHA-256 of a public key, by which it is known again wherever it came from;
        a secret has none.
    """

    algorithm: str
    material: Any = field(repr=False)
    kid: str | None = None
    fingerprint: str | None = None

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature over these bytes was made with its other half."""
        return jwt.get_algorithm_by_name(self.algorithm).verify(signed, self.material, signature)

    def is_named(self, algorithm: object) -> bool:
        """Whether a token's ``alg`` means its algorithm."""
        return isinstance(algorithm, str) and algorithm in _NAMES[self.algorithm]


class Keyset:
    """Keys that verify; never changed, but replaced as a whole."""

    __slots__ = ("_by_kid", "_nameless", "fingerprints", "keys")

    def __init__(self, keys: Iterable[VerifyingKey] = ()) -> None:
        self.keys = tuple(keys)
        self.fingerprints = frozenset(key.fingerprint for key in self.keys)
        self._by_kid: dict[str, list[VerifyingKey]] = {}
        for key in self.keys:
            if key.kid is not None:
                self._by_kid.setdefault(key.kid, []).append(key)
        self._nameless = [key for key in self.keys if key.kid is None]

    def __or__(self, other: Keyset) -> Keyset:
        return Keyset((*self.keys, *other.keys))

    def __len__(self) -> int:
        return len(self.keys)

    def knows(self, kid: str) -> bool:
        """Whether a key has this name."""
        return kid in self._by_kid

    def candidates(self, algorithm: object, kid: str | None) -> list[VerifyingKey]:
        """The keys a token with this header may have been signed for, at most 8.

        Those of the name it gives, whatever the algorithm, or else those without a name.
        """
        if kid is not None and (named := self._by_kid.get(kid)):
            return named[:_MAX_TRIES]
        keys = self._nameless if kid is not None else self.keys
        return [key for key in keys if key.is_named(algorithm)][:_MAX_TRIES]


def secret_key(secret: str) -> VerifyingKey:
    """The key of HS256 that this secret is.

    :raises ValueError: it can be guessed, or is no secret at all; never showing it.
    """
    material = secret.encode(errors="surrogateescape")
    if len(material) < MIN_SECRET_BYTES:
        raise ValueError(
            f"it is {len(material)} bytes long, and at least {MIN_SECRET_BYTES} are needed, or "
            "tokens could be forged by guessing it; make one with: openssl rand -base64 48"
        )
    if len(set(material)) < 8:
        raise ValueError("it is too regular for a secret; make one with: openssl rand -base64 48")
    try:
        prepared = jwt.get_algorithm_by_name("HS256").prepare_key(material)
    except jwt.PyJWTError:
        raise ValueError(
            "it is a public key, which everybody may know; name its file in token_keys_file"
        ) from None
    return VerifyingKey("HS256", prepared)


def parse_keys(text: str) -> Keyset:
    """The keys of a file: public keys in PEM, one after the other, or a JWKS document.

    :raises ValueError: it holds none, or something that should not be there.
    """
    if text.lstrip().startswith("{"):
        keys, passed_over = parse_jwks(text.encode(errors="surrogateescape"))
        if passed_over:
            raise ValueError(passed_over[0])
        return keys
    blocks = list(_PEM.finditer(text))
    if not blocks:
        raise ValueError("it holds neither public keys in PEM nor a JWKS document")
    if text.count("-----BEGIN ") != len(blocks):
        raise ValueError("a block in it has no end: it is cut short")
    return Keyset(_pem_key(block[1], block[0]) for block in blocks[:_MAX_KEYS])


def parse_jwks(document: bytes) -> tuple[Keyset, list[str]]:
    """The keys of a JWKS document (RFC 7517 §5), and why others in it are passed over.

    Symmetric and private keys are never taken: whoever may read the document could sign.

    :raises ValueError: it is no such document, or holds no key that could be taken.
    """
    try:
        value = parse_json(document)
    except BadJSON as error:
        raise ValueError(f"it is not JSON: {error.message}") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it is no JWKS document: write {"keys": [ … ]}')
    keys: list[VerifyingKey] = []
    passed_over: list[str] = []
    for number, entry in enumerate(entries[:_MAX_KEYS], 1):
        try:
            keys.append(_jwk_key(entry))
        except ValueError as error:
            passed_over.append(f"key {number}: {error}")
    if not keys:
        raise ValueError(passed_over[0] if passed_over else "it holds no key")
    return Keyset(keys), passed_over


def _pem_key(label: str, block: str) -> VerifyingKey:
    if "PRIVATE" in label:
        raise ValueError(
            "it holds a private key, which this server must not know; write out the public one: "
            "openssl pkey -in FILE -pubout"
        )
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ValueError(f"it holds a {label}; {_OTHER_PEM}")
    if not has_crypto:
        raise ValueError(NEEDS_EXTRA)
    # Late: without the extra it is not there.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(block.encode(errors="replace"))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a PUBLIC KEY in it can't be read") from None
    return _checked(public, None)


def _jwk_key(entry: object) -> VerifyingKey:
    if not isinstance(entry, dict):
        raise ValueError("it is no object")
    kind = entry.get("kty")
    if kind == "oct" or "d" in entry or "k" in entry:
        raise ValueError("it is a secret, which does not belong into a JWKS document")
    if entry.get("use", "sig") != "sig" or "verify" not in _operations(entry):
        raise ValueError("it is not for signatures")
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid.encode()) <= MAX_KID_BYTES):
        raise ValueError(f"its kid is no string of at most {MAX_KID_BYTES} bytes")
    if not has_crypto:
        raise ValueError(NEEDS_EXTRA)
    algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}.get(str(kind))
    if algorithm is None:
        raise ValueError(f"its kty {str(kind)[:40]!r} is not known")
    stated = entry.get("alg", algorithm)
    if not (isinstance(stated, str) and stated in _NAMES[algorithm]):
        raise ValueError(f"its algorithm {str(stated)[:40]!r} is not RS256, ES256 or EdDSA")
    try:
        public = jwt.PyJWK.from_dict(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        raise ValueError("its numbers are no key") from None
    return _checked(public, kid)


def _operations(entry: dict[str, Any]) -> list[Any]:
    operations = entry.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []


def _checked(public: object, kid: str | None) -> VerifyingKey:
    """The key for the one algorithm that fits it.

    :raises ValueError: none does, or it is too short to be safe.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(public, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        raise ValueError(_TAKEN)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fingerprint = sha256(der).hexdigest()
    match public:
        case RSAPublicKey():
            if not _MIN_RSA_BITS <= public.key_size <= _MAX_RSA_BITS:
                raise ValueError(
                    f"an RSA key has {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits, and this one "
                    f"{public.key_size}"
                )
            return VerifyingKey("RS256", public, kid, fingerprint)
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return VerifyingKey("ES256", public, kid, fingerprint)
        case Ed25519PublicKey():
            return VerifyingKey("EdDSA", public, kid, fingerprint)
        case _:
            raise ValueError(_TAKEN)
