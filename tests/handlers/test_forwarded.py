"""Whose request it is, behind proxies that are trusted and before some that are not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from handlers.forwarded import MAX_HOPS, Proxies, parse
from tests.handlers.serving import request as ask
from tests.handlers.serving import serving

PROXY = "10.0.0.7"
PROXIES = Proxies(("10.0.0.0/8", "192.0.2.1/32", "2001:db8:1::/48"))


class _Context:
    def __init__(self, peer: str) -> None:
        self.remote_ip = peer
        self.protocol = "http"


class _Connection:
    """What Tornado's request takes its peer from."""

    def __init__(self, peer: str) -> None:
        self.context = _Context(peer)


def resolved(peer: str, *headers: tuple[str, str]) -> tuple[str, str]:
    """The client's address and scheme, of a request with these headers from this peer."""
    sent = HTTPHeaders({"Host": "localhost"})
    for name, value in headers:
        sent.add(name, value)
    start = RequestStartLine("GET", "/", "HTTP/1.1")
    asked = HTTPServerRequest(
        connection=_Connection(peer),  # type: ignore[arg-type]
        start_line=start,
        headers=sent,
    )
    PROXIES.resolve(asked)
    return asked.remote_ip, asked.protocol


def client(peer: str, hops: str) -> str:
    return resolved(peer, ("X-Forwarded-For", hops))[0]


def test_an_untrusted_peer_is_who_it_is() -> None:
    headers = ("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-Proto", "https")
    assert resolved("203.0.113.5", *headers) == ("203.0.113.5", "http")


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ("198.51.100.9", "198.51.100.9"),
        # What the client has put in front of it counts for nothing.
        ("127.0.0.1, 198.51.100.9", "198.51.100.9"),
        ("evil, 10.0.0.1, 198.51.100.9", "198.51.100.9"),
        ("1.1.1.1, 198.51.100.9, 10.1.2.3, 192.0.2.1", "198.51.100.9"),
        # With ports, as some proxies write them.
        ("198.51.100.9:51234", "198.51.100.9"),
        ("2001:db8::5", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ('"[2001:db8::5]"', "2001:db8::5"),
        ("2001:DB8:0::5 , [2001:db8:1::1]:80", "2001:db8::5"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        # All are proxies: the farthest of them is who began.
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        # What is no address: nothing is known beyond who wrote it.
        ("198.51.100.9, unknown", PROXY),
        ("unknown, 10.0.0.8", "10.0.0.8"),
        ("", PROXY),
        (",,,", PROXY),
        ("198.51.100.9,", PROXY),
        ("999.1.1.1", PROXY),
        ("198.51.100.9/32", PROXY),
        ("\xff", PROXY),
    ],
)
def test_the_client_is_the_last_who_is_no_proxy(hops: str, expected: str) -> None:
    assert client(PROXY, hops) == expected


def test_several_headers_are_one_list() -> None:
    several = ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "198.51.100.9")
    assert resolved(PROXY, *several)[0] == "198.51.100.9"
    several = ("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-For", "10.0.0.8")
    assert resolved(PROXY, *several)[0] == "198.51.100.9"


def test_a_list_without_end_is_looked_at_from_its_end_and_no_further_than_needed() -> None:
    assert client(PROXY, "1.1.1.1," * 100_000 + "198.51.100.9") == "198.51.100.9"
    hops = [f"10.0.1.{n % 250}" for n in range(10_000)]
    assert client(PROXY, ",".join(["198.51.100.9", *hops])) == hops[-MAX_HOPS]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("https, http", "http"),
        ("http,https", "https"),
        ("https,", "http"),
        ("ftp", "http"),
        ("", "http"),
    ],
)
def test_the_scheme_is_the_last_word(value: str, expected: str) -> None:
    assert resolved(PROXY, ("X-Forwarded-Proto", value))[1] == expected


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:10.0.0.7", "2001:db8:1::9"])
def test_peers_are_trusted_by_address_and_by_network(peer: str) -> None:
    assert client(peer, "198.51.100.9") == "198.51.100.9"


@pytest.mark.parametrize("peer", ["192.0.2.2", "11.0.0.1", "::1", "2001:db8:2::9", "0.0.0.0", ""])
def test_their_neighbours_are_not(peer: str) -> None:
    assert client(peer, "198.51.100.9") == peer


@pytest.mark.parametrize("text", ["", "[", "[]", "]", ":", "::::", "1.2.3", "a" * 100_000, "[::1"])
def test_nonsense_is_no_address(text: str) -> None:
    assert parse(text) is None or text == "[::1"


FORWARDED = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"trusted_proxies": ("127.0.0.1",), "insecure": True}, "198.51.100.9"), ({}, "127.")],
)
async def test_the_log_names_the_client(
    settings: Mapping[str, tuple[str, ...]], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="notifier.http")
    async with serving(**settings) as server:
        await ask(server.port, "GET", "/nowhere", headers=FORWARDED)
    (record,) = [r for r in caplog.records if r.getMessage().startswith("request")]
    assert expected in str(vars(record))
