"""What it costs to know who publishes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bench.case import Case, Cases
from bench.peers.notifier import PEER as NOTIFIER
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.scenarios.publish import FIGURES, one_at_a_time, side
from bench.stage import CHANNEL
from notifier.auth.issuing import SigningKey, make_token, signing_key, signing_secret
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope

_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz-ABCDEF"
_HOUR = 3600


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    with tempfile.TemporaryDirectory(prefix="bench-keys-") as folder:
        yield Case(
            "post-credentials",
            "one POST at a time, with a key or a token",
            [
                side(name, title, peer, plan, one_at_a_time)
                for name, title, peer in [
                    ("open", "nobody asks", NOTIFIER),
                    *authenticating(Path(folder)),
                ]
            ],
            FIGURES,
        )


def authenticating(folder: Path) -> Iterator[tuple[str, str, NotifierPeer]]:
    """Servers that ask, each with what its publishers show; their files go into the folder."""
    key, text = make_key(
        "bench", scopes=[Scope.PUBLISH], channels=Reach.of([CHANNEL]), created=time.time()
    )
    keys_file = folder / "keys.toml"
    KeyFile(keys_file).add(key)
    yield "key", "an API key", NotifierPeer("--keys-file", str(keys_file), credential=text)

    token = _token(signing_secret(_SECRET))
    yield "HS256", "a token, HS256", NotifierPeer("--token-secret", _SECRET, credential=token)

    pairs: list[tuple[str, PrivateKeyTypes]] = [
        ("ES256", generate_private_key(SECP256R1())),
        ("RS256", generate_rsa(65537, 2048)),
    ]
    for name, private in pairs:
        file = folder / f"{name}.pem"
        public = private.public_key()
        file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        token = _token(signing_key(pem))
        yield (
            name,
            f"a token, {name}",
            NotifierPeer("--token-keys-file", str(file), credential=token),
        )


def _token(key: SigningKey) -> str:
    """One as an application gives to its user."""
    now = int(time.time())
    claims = {
        "sub": "42",
        "iat": now,
        "exp": now + _HOUR,
        "jti": "login-7f3a",
        "channels": ["user:42", "builds:*", CHANNEL],
        "publish": [CHANNEL],
        "info": {"name": "Ada"},
    }
    return make_token(claims, key)
