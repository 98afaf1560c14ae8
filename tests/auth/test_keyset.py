from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.keyset import Keyset, parse_jwks, parse_keys, secret_key
from tests.auth.signing import SECRET, jwk, jwks, private, private_pem, public_pem

ASYMMETRIC = ["RS256", "ES256", "EdDSA"]


def why_not(document: bytes) -> str:
    with pytest.raises(ValueError) as caught:
        parse_jwks(document)
    return str(caught.value)


def test_file_of_pem_keys_gives_each_its_algorithm() -> None:
    text = "# the old one\n" + "\n".join(public_pem(private(a)) for a in ASYMMETRIC)
    keys = parse_keys(text)
    assert [(key.algorithm, key.kid) for key in keys.keys] == [(a, None) for a in ASYMMETRIC]
    assert parse_keys(text.replace("\n", "\r\n")).keys[2].algorithm == "EdDSA"


def test_file_may_be_a_jwks_document() -> None:
    document = jwks(*(jwk(private(a), a, kid=a) for a in ASYMMETRIC)).decode()
    keys = parse_keys(" \n" + document)
    assert [(key.algorithm, key.kid) for key in keys.keys] == [(a, a) for a in ASYMMETRIC]
    # What a URL's document may hold besides, a file of ours may not: nobody would notice.
    with pytest.raises(ValueError, match="key 2: it is a secret"):
        parse_keys(jwks(jwk(private("ES256"), "ES256"), {"kty": "oct", "k": "eA"}).decode())


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_private_key_is_refused_and_not_shown(algorithm: str) -> None:
    text = private_pem(private(algorithm)).decode()
    with pytest.raises(ValueError, match="private key") as caught:
        parse_keys(text)
    assert text.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "2048 to 8192 bits"),
        (ec.generate_private_key(ec.SECP384R1()), "P-256"),
        (ed448.Ed448PrivateKey.generate(), "Ed25519"),
        (dsa.generate_private_key(2048), "are taken"),
    ],
    ids=["rsa-1024", "P-384", "Ed448", "DSA"],
)
def test_other_kinds_of_keys_are_refused(key: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_keys(public_pem(key))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "neither"),
        ("hello", "neither"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "can't be read"),
        ("-----BEGIN PUBLIC KEY-----\n\ud800\n-----END PUBLIC KEY-----", "can't be read"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "holds a CERTIFICATE"),
        ("{", "not JSON"),
        ('{"keys": {}}', "no JWKS document"),
        ('{"keys": []}', "holds no key"),
    ],
)
def test_file_that_holds_no_key_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_keys(text)


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_short_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="at least 32") as caught:
        secret_key(secret)
    assert not secret or secret not in str(caught.value)


def test_secret_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="too regular"):
        secret_key("changeme" * 8)
    with pytest.raises(ValueError, match="public key"):
        secret_key(public_pem(private("ES256")))


def test_jwks_keys_that_are_not_for_us_are_passed_over_and_told() -> None:
    good = jwk(private("RS256"), "RS256", kid="good", use="sig", alg="RS256", x5c=["MIIB"])
    secret = {"kty": "oct", "k": b64encode(SECRET.encode()).decode(), "kid": "s"}
    others = [
        secret,
        {**good, "d": "AQAB"},
        {**good, "use": "enc"},
        {**good, "key_ops": ["sign"]},
        {**good, "key_ops": "verify"},
        {**good, "alg": "PS256"},
        {**good, "alg": "HS256"},
        {**good, "alg": 5},
        {**good, "kid": 5},
        {**good, "kid": "x" * 201},
        {**good, "kty": "EC"},
        {**good, "kty": ["RSA"]},
        {**good, "n": "AQAB"},
        {**good, "n": "x" * 100_000},
        {**good, "n": None},
        {**good, "e": "AA"},
        {**jwk(private("ES256"), "ES256"), "x": jwk(private("ES256"), "ES256")["y"]},
        {**jwk(private("EdDSA"), "EdDSA"), "x": "AAAA"},
        5,
    ]
    keys, passed_over = parse_jwks(json.dumps({"keys": [*others, good], "more": 1}).encode())
    assert [key.kid for key in keys.keys] == ["good"]
    assert len(passed_over) == len(others)
    assert SECRET not in "".join(passed_over) and secret["k"] not in "".join(passed_over)


def test_document_of_secrets_alone_gives_no_keys() -> None:
    assert "it is a secret" in why_not(jwks({"kty": "oct", "k": "A" * 64}))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_private_key_of_a_document_is_not_taken(algorithm: str) -> None:
    implementation: Any = jwt.get_algorithm_by_name(algorithm)
    entry = json.loads(implementation.to_jwk(private(algorithm)))
    reason = why_not(jwks(entry))
    assert "it is a secret" in reason and entry["d"] not in reason


def test_document_is_read_within_bounds() -> None:
    assert "not JSON" in why_not(b'{"keys":' + b"[" * 100_000)
    good = jwk(private("EdDSA"), "EdDSA")
    keys, _ = parse_jwks(jwks(*({**good, "kid": str(number)} for number in range(500))))
    assert len(keys) == 100


@given(st.binary())
def test_any_document_is_read_or_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        parse_jwks(document)


JUNK = st.none() | st.integers() | st.text(max_size=50) | st.lists(st.text(max_size=5))


@given(
    st.sampled_from(ASYMMETRIC),
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg"]), JUNK),
)
def test_any_key_of_a_document_is_read_or_refused(algorithm: str, changed: dict[str, Any]) -> None:
    entry = {**jwk(private(algorithm), algorithm), **changed}
    try:
        keys, _ = parse_jwks(jwks(entry))
    except ValueError:
        return
    assert [key.algorithm for key in keys.keys] == [algorithm]


def test_candidates_are_those_of_the_name_else_those_without() -> None:
    named, _ = parse_jwks(
        jwks(jwk(private("RS256"), "RS256", kid="a"), jwk(private("ES256"), "ES256", kid="b"))
    )
    both = named | Keyset([secret_key(SECRET)])
    assert [key.algorithm for key in both.candidates("ES256", "a")] == ["RS256"]
    assert [key.algorithm for key in both.candidates("HS256", "other")] == ["HS256"]
    assert both.candidates("RS256", "other") == []
    assert [key.kid for key in both.candidates("ES256", None)] == ["b"]
    assert both.candidates(["ES256"], None) == []
    assert both.knows("a") and not both.knows("other")


def test_few_keys_are_tried_for_a_token() -> None:
    good = jwk(private("EdDSA"), "EdDSA")
    keys, _ = parse_jwks(jwks(*[good] * 50, *[{**good, "kid": "a"}] * 50))
    for kid in (None, "x", "a"):
        assert len(keys.candidates("EdDSA", kid)) == 8
