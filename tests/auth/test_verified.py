from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import pytest

from notifier.auth.authenticator import Authenticator, Fixed
from notifier.auth.identity import Identity
from notifier.auth.keyset import Keyset, VerifyingKey, parse_jwks
from notifier.auth.tokens import MAX_TOKEN_BYTES, Token, TokenRules, Verified
from notifier.auth.verified import VerifiedTokens
from notifier.errors import BadCredential, ExpiredCredential
from tests.auth.signing import NOW, jwk, jwks, keys_of, private, token

KEYS = keys_of("HS256")


def verified(text: str) -> Verified:
    return TokenRules().verify(Token.parse(text), KEYS, NOW)


def filled(memory: VerifiedTokens, count: int) -> list[str]:
    texts = [token(sub=f"user-{number}") for number in range(count)]
    for text in texts:
        memory.keep(text, KEYS, verified(text))
    return texts


def test_what_was_kept_is_found_by_its_text_alone() -> None:
    memory = VerifiedTokens()
    memory.find("", KEYS)
    (text,) = filled(memory, 1)
    found = memory.find(text, KEYS)
    assert found is not None and found.identity.user == "user-0"
    for other in (text[:-1], text + "A", text.replace(".", "", 1), "", "ü", "\ud800", token()):
        assert memory.find(other, KEYS) is None
    assert text not in repr(vars(memory))


def test_of_more_than_it_may_hold_those_go_that_were_not_used_for_longest() -> None:
    memory = VerifiedTokens(limit=3)
    memory.find("", KEYS)
    first, second, third = filled(memory, 3)
    assert memory.find(first, KEYS)
    fourth = token(sub="one more")
    memory.keep(fourth, KEYS, verified(fourth))
    assert memory.find(second, KEYS) is None
    assert all(memory.find(text, KEYS) for text in (first, third, fourth))


def test_it_is_bounded_in_bytes_and_counts_them_right() -> None:
    memory = VerifiedTokens(max_bytes=100_000)
    large = [
        token(sub=f"user-{number}", channels=[f"c{n}" for n in range(100)]) for number in range(20)
    ]
    for text in large * 2:
        memory.keep(text, KEYS, verified(text))
        assert memory.bytes <= 100_000
    assert 1 < len(memory) < 10
    assert memory.find(large[-1], KEYS) and not memory.find(large[0], KEYS)
    memory.find("", keys_of("ES256"))
    assert (len(memory), memory.bytes) == (0, 0)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"channels": ["builds:*", "alerts"], "publish": ["alerts"], "jti": "t", "info": {"a": "b"}},
        {"sub": "x" * 200, "jti": "y" * 200, "info": "z" * 1000},
        {"channels": [f"{n}" for n in range(100)], "publish": [f"p{n}" for n in range(100)]},
        {"channels": [f"{n}*" for n in range(100)], "publish": [f"*{n}" for n in range(100)]},
        {"channels": [f"*{n}" for n in range(100)], "publish": [f"*{n}x" for n in range(100)]},
        {"channels": [f"{n}" + "é" * 7 for n in range(100)]},
    ],
    ids=["nothing", "usual", "long", "names", "patterns", "others", "letters"],
)
def test_what_it_counts_for_a_token_is_what_that_takes(claims: dict[str, Any]) -> None:
    texts = [token(**{"sub": f"user-{number}"} | claims, nbf=NOW - number) for number in range(300)]
    memory = VerifiedTokens()
    memory.find("", KEYS)
    for text in texts:  # what is remembered elsewhere, such as compiled patterns
        verified(text)
    gc.collect()
    tracemalloc.start()
    for text in texts:
        memory.keep(text, KEYS, verified(text))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken <= memory.bytes <= 3 * taken, (taken, memory.bytes)


class Counting(Keyset):
    """Counts how often tokens are verified with it."""

    asked = 0

    def candidates(self, algorithm: object, kid: str | None) -> list[VerifyingKey]:
        type(self).asked += 1
        return super().candidates(algorithm, kid)


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Issuer:
    """Keys that are elsewhere, and at hand."""

    fetched: Keyset
    problem: str | None = None
    clock: Clock = field(default_factory=Clock)

    async def keys(self, kid: str | None) -> Keyset:
        return self.fetched

    def current(self) -> Keyset:
        return self.fetched

    def wait(self, kid: str | None) -> float | None:
        return None

    def has(self, fingerprint: str) -> bool | None:
        return fingerprint in self.fetched.fingerprints

    def expect(self, fingerprint: str) -> None: ...


def counting() -> tuple[type[Counting], Authenticator, Clock]:
    class Keys(Counting):
        pass

    clock = Clock()
    return Keys, Authenticator(clock, static=Fixed(Keys(KEYS.keys))), clock


def test_a_token_is_verified_once() -> None:
    keys, authenticator, _ = counting()
    text = token(channels=["alerts"])
    first = authenticator.at_once(text)
    assert authenticator.at_once(text) == first
    assert isinstance(first, Identity) and keys.asked == 1


def test_each_use_minds_the_time_and_what_was_revoked() -> None:
    keys, authenticator, clock = counting()
    text = token(nbf=NOW + 10, jti="t1", exp=NOW + 100)
    assert authenticator.at_once(text)
    clock.now = NOW - 25  # it was set back
    with pytest.raises(BadCredential, match="not good yet"):
        authenticator.at_once(text)
    clock.now = NOW + 99.9
    assert authenticator.at_once(text)
    clock.now = NOW + 100
    with pytest.raises(ExpiredCredential):
        authenticator.at_once(text)
    clock.now = NOW
    authenticator.revocations.revoke("t1", NOW + 100, NOW)
    with pytest.raises(BadCredential, match="revoked"):
        authenticator.at_once(text)
    assert keys.asked == 1


def test_what_is_refused_is_refused_again_and_pushes_nothing_out() -> None:
    keys, authenticator, _ = counting()
    good = token()
    authenticator.at_once(good)
    authenticator.revocations.revoke("gone", NOW + 100, NOW)
    for text in (
        good[:-4] + "AAAA",
        token(exp=NOW - 1),
        token(nbf=NOW + 1000),
        token(aud="another"),
        token(jti="gone"),
        "x" * (MAX_TOKEN_BYTES + 1),
        "junk",
    ):
        for _ in range(2):
            with pytest.raises(BadCredential if text != token(exp=NOW - 1) else ExpiredCredential):
                authenticator.at_once(text)
    assert len(authenticator._verified) == 1
    before = keys.asked
    assert authenticator.at_once(good) and keys.asked == before


async def test_a_key_that_its_issuer_gave_up_verifies_nothing_from_that_moment() -> None:
    old, _ = parse_jwks(jwks(jwk(private("ES256"), "ES256", kid="old")))
    new, _ = parse_jwks(jwks(jwk(private("RS256"), "RS256", kid="new")))
    issuer = Issuer(old)
    authenticator = Authenticator(issuer.clock, static=Fixed(KEYS), source=issuer)
    theirs = token(algorithm="ES256", headers={"kid": "old"})
    ours = token()
    assert authenticator.at_once(theirs) is None
    identity = await authenticator.identify(theirs)
    assert authenticator.at_once(theirs) == identity
    assert authenticator.at_once(ours)
    issuer.fetched = new
    with pytest.raises(BadCredential):
        await authenticator.identify(theirs)
    assert authenticator.at_once(ours)
    issuer.fetched = old
    assert authenticator.at_once(theirs) is None
