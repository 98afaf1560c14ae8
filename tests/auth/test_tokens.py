from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.identity import Identity
from notifier.auth.keyset import Keyset, parse_jwks
from notifier.auth.revocations import Revocations
from notifier.auth.scopes import Scope
from notifier.auth.tokens import MAX_TOKEN_BYTES, Token, TokenRules
from notifier.errors import BadCredential, ExpiredCredential, NotifierError
from tests.auth.signing import (
    CLAIMS,
    NOW,
    SECRET,
    jwk,
    jwks,
    keys_of,
    private,
    public_pem,
    raw_token,
    token,
)

ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]
PAYLOAD = json.dumps(CLAIMS).encode()
HMAC = keys_of("HS256")


def identify(
    text: str,
    keys: Keyset = HMAC,
    *,
    now: float = NOW,
    revocations: Revocations | None = None,
    **rules: str,
) -> Identity:
    verified = TokenRules(**rules).verify(Token.parse(text), keys, now)
    verified.check(now, revocations or Revocations())
    return verified.identity


def refused(text: str, keys: Keyset = HMAC, **rules: Any) -> str:
    with pytest.raises(BadCredential) as caught:
        identify(text, keys, **rules)
    return caught.value.message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_says_who_and_what(algorithm: str) -> None:
    text = token(
        algorithm=algorithm, channels=["alerts", "builds:*"], publish=["chat:lobby"],
        info={"name": "Ada"}, jti="t1",
    )  # fmt: skip
    identity = identify(text, keys_of(algorithm))
    assert (identity.kind, identity.user, identity.credential_id) == ("token", "42", "t1")
    assert identity.expires_at == NOW + 3600
    assert identity.info == b'{"name":"Ada"}'
    for scope in (Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE):
        assert identity.is_granted(scope, "builds:main") and identity.is_granted(scope, "alerts")
        assert not identity.is_granted(scope, "chat:lobby")
    assert identity.is_granted(Scope.PUBLISH, "chat:lobby")
    assert not identity.is_granted(Scope.PUBLISH, "alerts")
    assert not {Scope.ADMIN, Scope.METRICS} & identity.grants.keys()


def test_publish_true_means_the_same_channels_and_no_channels_grant_nothing() -> None:
    assert identify(token(channels=["a"], publish=True)).is_granted(Scope.PUBLISH, "a")
    assert identify(token(channels=["a"], publish=False)).grants.keys() == {
        Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE,
    }  # fmt: skip
    assert identify(token(publish=True)).grants == {}
    assert identify(token(channels=[])).grants == {}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_key_verifies_tokens_of_its_own_algorithm_alone(algorithm: str, other: str) -> None:
    text = token(algorithm=algorithm)
    if algorithm == other:
        assert identify(text, keys_of(other)).user == "42"
    else:
        refused(text, keys_of(other))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_changed_token_is_refused(algorithm: str) -> None:
    head, payload, signature = token(algorithm=algorithm).split(".")
    other = token(algorithm=algorithm, sub="admin").split(".")
    refused(".".join([head, other[1], signature]), keys_of(algorithm))
    refused(".".join([head, payload, other[2]]), keys_of(algorithm))
    refused(".".join([head, payload, signature[:-8]]), keys_of(algorithm))
    refused(".".join([head, payload, signature + "AAAA"]), keys_of(algorithm))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none", "none\x00", None, 0])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_unsigned_token_is_refused_however_it_spells_it(name: object, algorithm: str) -> None:
    text = raw_token(json.dumps({"alg": name}).encode(), PAYLOAD)
    unsigned, _, _ = text.rpartition(".")
    for form in (text, unsigned + ".", unsigned, unsigned + ".AAAA"):
        refused(form, keys_of(algorithm))
    refused(raw_token(b"{}", PAYLOAD), keys_of(algorithm))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("named", ["HS256", "HS384", "RS256", "ES256", "EdDSA", "PS256", "hs256"])
def test_public_key_is_no_secret(algorithm: str, named: str) -> None:
    """The classic confusion: signed with HMAC, the published key as the secret."""
    pem = public_pem(private(algorithm))
    document = jwks(jwk(private(algorithm), algorithm, kid="a"))
    secrets = [pem.encode(), pem.strip().encode(), document]
    for keys in (keys_of(algorithm), parse_jwks(document)[0], keys_of(algorithm) | HMAC):
        for header in ({"alg": named}, {"alg": named, "kid": "a"}):
            for secret in secrets:
                refused(raw_token(json.dumps(header).encode(), PAYLOAD, secret), keys)


def test_secret_does_not_help_against_a_jwks_of_rsa_keys() -> None:
    keys, _ = parse_jwks(jwks(jwk(private("RS256"), "RS256", kid="a")))
    assert refused(token(headers={"kid": "a"}), keys) == (
        "This token's algorithm is not that of its key."
    )
    assert refused(token(), keys) == "No key of this server fits this token."


def test_eddsa_is_also_known_by_its_curve() -> None:
    text = raw_token(b'{"alg":"Ed25519"}', PAYLOAD, sign=private("EdDSA").sign)
    assert identify(text, keys_of("EdDSA")).user == "42"


def test_expired_token_is_told_from_a_bad_one() -> None:
    assert identify(token(), now=NOW + 3599.9).user == "42"
    with pytest.raises(ExpiredCredential) as caught:
        identify(token(), now=NOW + 3600)
    assert caught.value.close_code == 4401
    stranger = raw_token(b'{"alg":"HS256"}', b'{"sub":"42","exp":1}', b"x" * 32)
    assert "signature" in refused(stranger)  # nothing of what a forger writes is looked at


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_token_is_not_good_before_its_time_but_for_a_clock_a_little_ahead(claim: str) -> None:
    assert identify(token(**{claim: NOW + 30})).user == "42"
    assert f"not good yet ({claim})" in refused(token(**{claim: NOW + 31}))


BAD_TIMES = ["1", True, [], {}, -1, 1e300, 10**30, 253402300800, 253402300799.9999]


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", BAD_TIMES, ids=str)
def test_time_that_is_none_is_refused(claim: str, value: object) -> None:
    assert f"{claim} is no time" in refused(token(**{claim: value}))


def test_token_that_would_be_good_for_ever_is_refused() -> None:
    assert "no exp" in refused(token(exp=None))
    assert "no exp" in refused(raw_token(b'{"alg":"HS256"}', b'{"sub":"42","exp":null}'))


@pytest.mark.parametrize("audience", ["ours", ["other", "ours"]])
def test_token_must_be_for_us(audience: object) -> None:
    assert identify(token(aud=audience), audience="ours").user == "42"
    assert "(aud)" in refused(token(aud=audience), audience="theirs")
    # It is for somebody, and nobody has said that it is us (RFC 7519 §4.1.3).
    assert "token_audience" in refused(token(aud=audience))


@pytest.mark.parametrize("audience", [None, "", "our", "OURS", [], {"ours": 1}, 5, [["ours"]]])
def test_other_audience_is_refused(audience: object) -> None:
    assert "(aud)" in refused(token(aud=audience), audience="ours")


def test_token_must_be_by_the_issuer() -> None:
    assert identify(token(iss="https://id"), issuer="https://id").user == "42"
    assert identify(token(iss="https://id")).user == "42"
    for issuer in (None, "https://id/", ["https://id"], 5):
        assert "(iss)" in refused(token(iss=issuer), issuer="https://id")


@pytest.mark.parametrize("subject", [None, "", 42, True, ["42"], {"a": 1}, "x" * 201, "é" * 101])
def test_sub_must_be_a_short_string(subject: object) -> None:
    assert "sub is no string" in refused(token(sub=subject))


@pytest.mark.parametrize(
    ("claim", "value", "problem"),
    [
        ("channels", "alerts", "no list"),
        ("channels", {"alerts": 1}, "no list"),
        ("channels", [5], "must be a string"),
        ("channels", ["a b"], "not a channel name"),
        ("channels", ["$server"], "leading $"),
        ("channels", ["**"], "not a pattern"),
        ("channels", ["x" * 201], "bytes long"),
        ("channels", ["a"] * 101, "more than 100"),
        ("publish", "alerts", "no list"),
        ("publish", 1, "no list"),
        ("publish", ["a b"], "not a channel name"),
        ("jti", 5, "jti is no string"),
        ("jti", "", "jti is no string"),
        ("jti", "x" * 201, "jti is no string"),
        ("info", "x" * 1023, "info is longer"),
    ],
)
def test_claim_that_breaks_its_rule_is_refused(claim: str, value: object, problem: str) -> None:
    assert problem in refused(token(**{claim: value}))


@pytest.mark.parametrize("info", [b"1e999", b"NaN", b"-Infinity", b'"\\ud800"'])
def test_info_that_is_not_json_is_refused(info: bytes) -> None:
    refused(raw_token(b'{"alg":"HS256"}', PAYLOAD[:-1] + b',"info":' + info + b"}"))


def test_claim_given_twice_is_refused() -> None:
    payload = b'{"sub":"42","exp":1900000000,"sub":"admin"}'
    assert "JSON" in refused(raw_token(b'{"alg":"HS256"}', payload))
    assert "JSON" in refused(raw_token(b'{"alg":"none","alg":"HS256"}', PAYLOAD))
    inner = PAYLOAD[:-1] + b',"info":{"a":1,"a":2}}'
    assert "JSON" in refused(raw_token(b'{"alg":"HS256"}', inner))


@pytest.mark.parametrize("payload", [b"", b"[]", b"42", b"null", b'"x"', b"{", b"\xff", b"{}x"])
def test_payload_must_be_one_json_object(payload: bytes) -> None:
    refused(raw_token(b'{"alg":"HS256"}', payload))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    deep = opening * (5000 // len(opening))
    assert "JSON" in refused(raw_token(b'{"alg":"HS256"}', deep))
    assert "JSON" in refused(raw_token(b'{"alg":"HS256","x":' + opening * 100, PAYLOAD))
    closed = b'{"alg":"HS256","x":' + b"[" * 350 + b"]" * 350 + b"}"
    assert "JSON" in refused(raw_token(closed, PAYLOAD))


def test_huge_header_and_huge_token_are_refused_before_they_are_read() -> None:
    assert "header is longer" in refused(token(headers={"x": "y" * 1024}))
    assert "longer than 8192" in refused(token(x="y" * MAX_TOKEN_BYTES))
    assert "longer than 8192" in refused("a" * 10_000_000)
    fits = token(x="y" * 5900)
    assert len(fits) <= MAX_TOKEN_BYTES
    assert identify(fits).user == "42"


@pytest.mark.parametrize(
    "kid",
    ["../../../dev/null", "/etc/passwd", "x' OR '1'='1", "x\x00", "a\nb", "http://evil.example/k"],
)
def test_kid_is_compared_and_nothing_else(kid: str) -> None:
    keys, _ = parse_jwks(jwks(jwk(private("RS256"), "RS256", kid="a")))
    assert refused(token(algorithm="RS256", headers={"kid": kid}), keys) == (
        "No key of this server fits this token."
    )
    # An empty file, as /dev/null is, makes an empty secret.
    header = json.dumps({"alg": "HS256", "kid": kid}).encode()
    assert "signature" in refused(raw_token(header, PAYLOAD, b""))


@pytest.mark.parametrize("kid", ["", 5, [], {}, True, "x" * 201])
def test_kid_must_be_a_short_string(kid: object) -> None:
    header = json.dumps({"alg": "HS256", "kid": kid}).encode()
    assert "kid is no string" in refused(raw_token(header, PAYLOAD))


def test_kid_of_100_kb_is_refused() -> None:
    header = json.dumps({"alg": "HS256", "kid": "x" * 100_000}).encode()
    assert "longer than 8192" in refused(raw_token(header, PAYLOAD))


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_key_the_token_brings_itself_is_not_looked_at(member: str) -> None:
    mallory = private("mallory")  # another Ed25519 key
    brought: dict[str, Any] = {
        "jwk": jwk(mallory, "EdDSA", kid="m"),
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": ["MIIB"],
    }
    header = json.dumps({member: brought[member], "alg": "EdDSA"}).encode()
    forged = raw_token(header, PAYLOAD, sign=mallory.sign)
    assert "signature" in refused(forged, keys_of("EdDSA"))
    # And it does no harm to a token that is signed rightly.
    assert identify(token(headers={member: brought[member]})).user == "42"


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": "x"},
        {"crit": None},
        {"b64": False},
    ],
)
def test_critical_extension_is_refused(header: dict[str, Any]) -> None:
    text = raw_token(json.dumps({"alg": "HS256", **header}).encode(), PAYLOAD)
    assert "extension" in refused(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b", "a.b.c.d", "a.b.c.d.e", "nk_x_y", "é.é.é", "\ud800", "a.b.\n"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    assert "neither a token" in refused(text)


@pytest.mark.parametrize("change", [" {}", "{}\n", "{}=", "{}!", "+{}", "{}/"])
def test_form_is_kept_to_the_letter(change: str) -> None:
    refused(change.format(token()))


def test_revoked_token_is_refused_until_it_would_have_expired_anyway() -> None:
    revocations = Revocations()
    revocations.revoke("t1", NOW + 3600, NOW)
    assert refused(token(jti="t1"), revocations=revocations) == "This token was revoked."
    assert identify(token(jti="t2"), revocations=revocations).user == "42"
    assert identify(token(), revocations=revocations).user == "42"


def test_token_of_a_key_that_was_taken_away_is_refused() -> None:
    text = token(algorithm="RS256", headers={"kid": "old"})
    old = jwk(private("RS256"), "RS256", kid="old")
    new = jwk(private("ES256"), "ES256", kid="new")
    assert identify(text, parse_jwks(jwks(old, new))[0]).user == "42"
    assert "No key" in refused(text, parse_jwks(jwks(new))[0])


def test_a_token_shows_nothing_of_itself() -> None:
    text = token()
    shown = repr(Token.parse(text))
    assert not any(part in shown for part in text.split("."))
    assert SECRET not in repr(HMAC.keys[0])


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=15,
)
CLAIM = st.sampled_from(
    ["sub", "exp", "nbf", "iat", "aud", "iss", "channels", "publish", "info", "jti"]
)


def answers(text: str, keys: Keyset) -> None:
    """In a few ms, and as much again for a machine that does other things.

    What takes long by itself does so each time; what the collector, or another thread, takes is
    taken once.
    """
    for _ in range(5):
        began = time.thread_time()
        try:
            assert isinstance(identify(text, keys, audience="a", issuer="i"), Identity)
        except NotifierError as error:
            assert type(error) in (BadCredential, ExpiredCredential)
        if time.thread_time() - began < 0.05:
            return
    pytest.fail("it takes long each time")


EVERY = keys_of("HS256") | keys_of("RS256") | keys_of("ES256") | keys_of("EdDSA")


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_answered_with_a_refusal_of_ours(text: str) -> None:
    answers(text, EVERY)


@given(st.binary(max_size=700), st.binary(max_size=4000))
def test_any_bytes_that_are_signed_are_answered(header: bytes, payload: bytes) -> None:
    answers(raw_token(header, payload), EVERY)
    answers(raw_token(b'{"alg":"HS256"}', payload), EVERY)


@given(st.dictionaries(CLAIM, JSONISH), st.booleans())
def test_any_claims_that_are_signed_are_answered(claims: dict[str, Any], sound: bool) -> None:
    base = {**CLAIMS, "aud": "a", "iss": "i"} if sound else {}
    payload = json.dumps({**base, **claims}).encode()
    answers(raw_token(b'{"alg":"HS256"}', payload), EVERY)


@given(
    st.sampled_from([*ALGORITHMS, "Ed25519"]),
    st.binary(max_size=600),
    st.dictionaries(st.sampled_from(["kid", "typ", "cty", "crit", "jwk", "zip"]), JSONISH),
)
def test_any_signature_and_header_are_answered(
    algorithm: str, signature: bytes, header: dict[str, Any]
) -> None:
    given_header = json.dumps({"alg": algorithm, **header}).encode()
    answers(raw_token(given_header, PAYLOAD, sign=lambda _: signature), EVERY)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 6000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"exp":' + b"9" * 5900 + b"}",
        b'{"exp":1e' + b"9" * 5900 + b"}",
        b'{"sub":"' + "😀".encode() * 1400 + b'"}',
        PAYLOAD[:-1] + b',"channels":["' + b'","'.join(b"%d*x" % n for n in range(99)) + b'"]}',
    ],
    ids=["arrays", "objects", "digits", "exponent", "emoji", "patterns"],
)
def test_largest_token_takes_a_few_milliseconds(payload: bytes) -> None:
    answers(raw_token(b'{"alg":"HS256"}', payload), EVERY)


def test_a_token_lives_only_so_long() -> None:
    life = 365 * 86400
    for claims in (
        {"exp": NOW + life, "iat": NOW},
        {"exp": NOW + life},
        {"exp": NOW + 9, "iat": 1},
    ):
        if claims.get("iat") == 1:
            assert "lives longer than 365 days" in refused(token(**claims))
        else:
            assert identify(token(**claims)).issued_at == claims.get("iat")
    assert "max_token_life" in refused(token(exp=NOW + life + 1))
    assert "max_token_life" in refused(token(exp=NOW + life - 9, iat=NOW - 10))


def test_one_that_is_too_long_is_good_later_where_nobody_can_tell_its_age() -> None:
    """As ``docs/explanation/security.md`` says: it may outlive its revocation."""
    life = 365 * 86400
    for later in (NOW, NOW + life - 1):
        assert "max_token_life" in refused(token(exp=NOW + 2 * life), now=later)
        assert "max_token_life" in refused(token(exp=NOW + 2 * life, iat=NOW), now=later)
    assert identify(token(exp=NOW + 2 * life), now=NOW + life)
    assert "max_token_life" in refused(token(exp=NOW + 2 * life, iat=NOW), now=NOW + life)


def test_all_of_a_users_tokens_may_be_revoked() -> None:
    revocations = Revocations()
    revocations.revoke_user("42", before=NOW, until=NOW + 9999, now=NOW)
    for text in (token(), token(iat=NOW - 1)):
        with pytest.raises(BadCredential, match="revoked"):
            identify(text, revocations=revocations)
    assert identify(token(iat=NOW), revocations=revocations).user == "42"
    assert identify(token(sub="43"), revocations=revocations)
