from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.config.redisurl import Deployment, RedisURL, without_password

SINGLE, SENTINEL, CLUSTER = Deployment.SINGLE, Deployment.SENTINEL, Deployment.CLUSTER
SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisURL(SINGLE, (("h", 6379),))),
        ("redis://h:1/2", RedisURL(SINGLE, (("h", 1),), db=2)),
        ("redis://[::1]:7", RedisURL(SINGLE, (("::1", 7),))),
        ("redis://[::1]", RedisURL(SINGLE, (("::1", 6379),))),
        ("redis://:p@h", RedisURL(SINGLE, (("h", 6379),), password="p")),
        ("redis://u@h", RedisURL(SINGLE, (("h", 6379),), username="u")),
        (
            "redis://me@example.com:p@h",
            RedisURL(SINGLE, (("h", 6379),), username="me@example.com", password="p"),
        ),
        (
            "redis://u:a%2Fb%40c%3Ad@h/",
            RedisURL(SINGLE, (("h", 6379),), username="u", password="a/b@c:d"),
        ),
        ("rediss://h", RedisURL(SINGLE, (("h", 6379),), tls=True)),
        (
            "rediss://h?ssl_ca_certs=/a%20b/ca@x.pem",
            RedisURL(SINGLE, (("h", 6379),), tls=True, files=(("ssl_ca_certs", "/a b/ca@x.pem"),)),
        ),
        ("unix:///run/redis.sock", RedisURL(SINGLE, path="/run/redis.sock")),
        ("unix:///run/r@1.sock?db=2", RedisURL(SINGLE, path="/run/r@1.sock", db=2)),
        (
            "unix:///r.sock?username=u&password=p%26q",
            RedisURL(SINGLE, path="/r.sock", username="u", password="p&q"),
        ),
        (
            "redis+sentinel://u:p@a,b:1/main/3?sentinel_username=su&sentinel_password=s@p",
            RedisURL(
                SENTINEL,
                (("a", 26379), ("b", 1)),
                master="main",
                db=3,
                username="u",
                password="p",
                sentinel_username="su",
                sentinel_password="s@p",
            ),
        ),
        ("rediss+cluster://a,b:7", RedisURL(CLUSTER, (("a", 6379), ("b", 7)), tls=True)),
    ],
)
def test_url_says_where_redis_is(url: str, expected: RedisURL) -> None:
    assert RedisURL.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "http: is not a scheme of Redis"),
        ("redis://", "'' is not a host"),
        ("redis://h:0", "'h:0' is not a host"),
        ("redis://h:65536", "'h:65536' is not a host"),
        ("redis://h:port", "'h:port' is not a host"),
        ("redis://a..b", "'a..b' is not a host"),
        ("redis://[::1", "not a URL"),
        ("redis://h,i", "one Redis has one address"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h/x", "'x' is not the number"),
        ("redis://h/²", "is not the number"),
        ("redis://h?dbs=1", "no option 'dbs'; known: ssl_ca_certs"),
        ("redis://h?ssl_ca_certs=x", "write rediss in place of redis"),
        ("redis://h/0#1", "write / ? # and @ as"),
        ("unix://run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///", "unix:///run/redis.sock"),
        ("unix:///s?db=x", "'x' is not the number"),
        ("redis+sentinel://h", "name the master"),
        ("redis+sentinel://h/a/1/2", "name the master"),
        ("redis+cluster://h/1", "one database"),
        ("redis+cluster://a,,b", "'' is not a host"),
    ],
)
def test_wrong_url_is_refused_with_what_is_wrong_with_it(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        RedisURL.parse(url)


@pytest.mark.parametrize(
    "reserved", ["/", "?", "#", "/a@", "?a@", "#@", "/1?", "?a=1&b", "[", "]", "℀"]
)
def test_refusal_of_a_password_that_is_not_encoded_says_nothing_of_it(reserved: str) -> None:
    for url in (
        f"redis://user:{SECRET}{reserved}{SECRET}@host/0",
        f"redis://user:12{reserved}{SECRET}@host/0",
        f"redis+sentinel://:{SECRET}{reserved}{SECRET}@host/main",
    ):
        try:
            parsed = RedisURL.parse(url)
        except ValueError as error:
            assert SECRET not in str(error)
        else:
            assert parsed.hosts[0][0] == "host"
        assert SECRET not in without_password(url)


def test_password_is_not_shown_where_the_slashes_are_missing() -> None:
    assert without_password(f"redis:u:{SECRET}@h") == "redis:u:***@h"


@given(user=st.text(), password=st.text(min_size=1).map(lambda text: f"{SECRET}{text}{SECRET}"))
def test_encoded_password_is_understood_and_never_shown(user: str, password: str) -> None:
    name, word = quote(user, safe="", errors="replace"), quote(password, safe="", errors="replace")
    for url in (
        f"redis://{name}:{word}@h:1/2",
        f"redis+cluster://{name}:{word}@h,i:7",
        f"unix:///redis.sock?username={name}&password={word}&db=1",
        f"redis+sentinel://{name}:{word}@h/main?sentinel_password={word}",
    ):
        shown = without_password(url)
        assert SECRET not in shown
        assert "***" in shown
        assert SECRET not in repr(RedisURL.parse(url))
        assert RedisURL.parse(url).password == password.encode(errors="replace").decode()


@given(
    user=st.text("ab@%.", max_size=5),
    password=st.text("ab@:/?#&=[]+ \n", min_size=1).map(lambda text: f"{SECRET}{text}{SECRET}"),
    rest=st.sampled_from(["h", "h:1/2", "h,i/main?sentinel_password=a@b", "h?x=1"]),
)
def test_password_is_not_shown_though_it_is_not_encoded(
    user: str, password: str, rest: str
) -> None:
    assert SECRET not in without_password(f"redis+sentinel://{user}:{password}@{rest}")


def test_url_without_a_password_is_shown_as_it_is() -> None:
    for url in ("redis://h:6379/1", "redis://user@h", "unix:///r.sock?db=1", "sqlite:/a:b@c.db"):
        assert without_password(url) == url


def test_mistyped_url_shows_no_password_either() -> None:
    for url in (
        f"redis//u:{SECRET}@h",
        f"redis:u:{SECRET}@h",
        f"redis:/u:{SECRET}@h",
        f"redis://h?pass={SECRET}",
        f"unix:///s?Passwd={SECRET}&db=1",
    ):
        assert SECRET not in without_password(url), url


def test_user_of_each_host_is_refused() -> None:
    with pytest.raises(ValueError, match="write / \\? # and @ as"):
        RedisURL.parse("redis+sentinel://a:pw@h:26379,b:pw@h2:1/mm")
