from __future__ import annotations

import pytest

from notifier.auth.jwks import MAX_ASKED, Jwks, Need, check_jwks_url
from notifier.auth.keyset import parse_jwks
from tests.auth.signing import jwk, jwks, private

OLD = jwks(jwk(private("RS256"), "RS256", kid="old"))
NEW = jwks(jwk(private("ES256"), "ES256", kid="new"))


@pytest.fixture
def cache() -> Jwks:
    """As it is after a good fetch at 1000."""
    cache = Jwks(max_age=600, retry=10, keep=86400)
    cache.begin(1000)
    cache.take(OLD, 1000)
    return cache


def test_nothing_is_known_before_the_first_fetch() -> None:
    cache = Jwks()
    assert len(cache.keys(0)) == 0
    assert cache.need("any", 0) is cache.need(None, 0) is Need.WAIT
    assert cache.may_fetch(0)


def test_known_key_needs_no_fetch_until_the_keys_are_old(cache: Jwks) -> None:
    assert cache.need("old", 1599) is Need.NOTHING
    assert cache.need(None, 1599) is Need.NOTHING
    assert cache.need("old", 1600) is Need.REFRESH
    assert cache.keys(1600).knows("old")


def test_unknown_key_is_fetched_for_once_in_a_while(cache: Jwks) -> None:
    assert cache.need("new", 1005) is Need.WAIT
    assert not cache.may_fetch(1009)
    assert cache.may_fetch(1010)
    cache.begin(1010)
    assert not cache.may_fetch(1019)


def test_who_comes_between_two_fetches_is_told_how_long_to_wait(cache: Jwks) -> None:
    assert cache.wait("old", 1004) is None, "it is there"
    assert (cache.wait("new", 1004), cache.wait("new", 1012)) == (6, 0)
    cache.begin(1012)
    cache.ask("new")
    cache.take(OLD, 1013)
    assert cache.wait("new", 1014) is None, "it was looked for just now, and is not there"
    assert cache.wait("another", 1014) == 8
    cache.begin(1022)
    cache.take(OLD, 1022)
    assert cache.wait("new", 1024) == 8, "the last fetch was for another"
    cache.begin(1032)
    cache.ask("new")
    cache.fail("it answered 500")
    assert cache.wait("new", 1034) == 8, "nobody knows what is there now"
    cache.begin(1042)
    cache.take(NEW, 1042)
    assert cache.wait("old", 1044) is None, "it was given up"
    for number in range(2 * MAX_ASKED):
        cache.ask(str(number))
    assert len(cache._asked) == MAX_ASKED


def test_rotation_brings_the_new_key_and_takes_the_old_one(cache: Jwks) -> None:
    cache.begin(1700)
    cache.take(NEW, 1700)
    assert cache.keys(1700).knows("new")
    assert not cache.keys(1700).knows("old")


def test_key_that_another_node_has_seen_is_unknown_until_the_next_document_tells(
    cache: Jwks,
) -> None:
    (old,), (new,) = (parse_jwks(document)[0].fingerprints for document in (OLD, NEW))
    assert old and new
    assert (cache.has(old), cache.has(new)) == (True, False)
    cache.begin(1600)
    cache.expect(new)
    cache.take(OLD, 1601)
    assert cache.has(new) is None, "this document may have been on its way before"
    cache.begin(2200)
    cache.fail("it answered 500")
    assert cache.has(new) is None
    cache.begin(2300)
    cache.take(OLD, 2300)
    assert cache.has(new) is False
    cache.expect(new)
    cache.begin(2900)
    cache.take(NEW, 2900)
    cache.expect(old)
    assert (cache.has(old), cache.has(new)) == (False, True), "what was here and is gone is gone"
    for number in range(2 * MAX_ASKED):
        cache.expect(str(number))
    assert len(cache._expected) == MAX_ASKED


def test_old_keys_are_kept_while_the_url_fails_but_not_for_ever(cache: Jwks) -> None:
    cache.begin(1700)
    cache.fail("it answered 500")
    assert cache.problem == "it answered 500"
    assert cache.keys(1000 + 86399).knows("old")
    assert cache.need("old", 1700) is Need.REFRESH
    assert len(cache.keys(1000 + 86400)) == 0
    cache.take(NEW, 90_000)
    assert cache.problem is None


@pytest.mark.parametrize("document", [b"", b"<html>", b'{"keys": []}'])
def test_document_without_keys_is_a_failure(cache: Jwks, document: bytes) -> None:
    with pytest.raises(ValueError):
        cache.take(document, 1700)
    assert cache.problem
    assert cache.keys(1700).knows("old")
    assert cache.need("old", 1700) is Need.REFRESH


@pytest.mark.parametrize(
    "url",
    ["https://id.example/jwks.json", "https://id.example:8443/k?x=1", "http://127.0.0.1:1/k",
     "http://localhost/k", "http://[::1]:1/k", "HTTPS://id.example/k"],
)  # fmt: skip
def test_url_may_be_https_or_loopback(url: str) -> None:
    assert check_jwks_url(url) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://id.example/k", "write https"),
        ("http://127.0.0.1.evil.example/k", "write https"),
        ("http://localhost.evil.example/k", "write https"),
        ("http://10.0.0.1/k", "write https"),
        ("file:///etc/passwd", "write it such as"),
        ("https:///k", "write it such as"),
        ("id.example/k", "write it such as"),
        ("https://id.example/k#x", "write it such as"),
        ("https://id.example:port/k", "not a URL"),
        ("https://[::1/k", "not a URL"),
        ("https://user:hunter2@id.example/k", "no user"),
        ("http://127.0.0.1@evil.example/k", "no user"),
    ],
)
def test_other_urls_are_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        check_jwks_url(url)
    assert "hunter2" not in str(caught.value)
