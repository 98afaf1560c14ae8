from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.origin import check_host, check_origin
from notifier.errors import ForeignHost, ForeignOrigin

HOST = "notify.example:8888"


def host_is_ours(host: str | None, *, bound: str = "127.0.0.1", allowed: str = "") -> bool:
    try:
        check_host(host, bound=bound, allowed=tuple(allowed.split()))
    except ForeignHost:
        return False
    return True


def origin_is_ours(
    headers: dict[str, str], *, allowed: str = "", navigable: bool = False, host: str = HOST
) -> bool:
    try:
        check_origin({"Host": host, **headers}, allowed=tuple(allowed.split()), navigable=navigable)
    except ForeignOrigin:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [None, "localhost", "LOCALHOST:8888", "localhost.", "localhost.:80", "a.localhost:1",
     "127.0.0.1:8888", "192.168.1.7", "[::1]:8888", "[::1]", "[fe80::1]:80"],
)  # fmt: skip
def test_loopback_names_and_addresses_are_served(host: str | None) -> None:
    assert host_is_ours(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8888", "localhost.evil.example", "evillocalhost",
     "127.0.0.1.evil.example", "127.0.0.1@evil.example", "evil.example.:80", "1.2.3", "0x7f.1",
     "[evil.example]", "localhost\x00", "local\u200bhost", "١٢٧.0.0.1"],
)  # fmt: skip
def test_other_names_are_refused(host: str) -> None:
    assert not host_is_ours(host)


def test_bound_and_allowed_names_are_served_in_any_case() -> None:
    assert host_is_ours("Notify.Example:80", bound="NOTIFY.example")
    assert host_is_ours("NOTIFY.example.:80", allowed="other.example notify.example")
    assert not host_is_ours("sub.notify.example", allowed="notify.example")
    assert host_is_ours("anything.example", allowed="*")


def test_refusal_names_the_setting() -> None:
    with pytest.raises(ForeignHost, match=r"'evil\.example'.*allowed_hosts") as caught:
        check_host("evil.example", bound="", allowed=())
    assert caught.value.status == 421


@given(st.text(st.characters()))
def test_any_host_is_served_or_refused(host: str) -> None:
    host_is_ours(host)


# --- origins ---


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://notify.example:8888"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://notify.example:8888"},
        {"Origin": "https://NOTIFY.example:8888"},
    ],
)
def test_our_own_pages_and_programs_may(headers: dict[str, str]) -> None:
    assert origin_is_ours(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://notify.example"},
        {"Origin": "http://notify.example:8888.evil.example"},
        {"Origin": "http://evil.example/notify.example:8888"},
        {"Origin": "http://notify.example:8888@evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "file://"},
        {"Origin": "http://["},
        {"Origin": "http://[notify.example:8888"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://notify.example:8888"},
        {"Sec-Fetch-Site": "", "Origin": "http://notify.example:8888"},
        {"Sec-Fetch-Site": "Same-Origin"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_pages_of_other_sites_may_not(headers: dict[str, str]) -> None:
    assert not origin_is_ours(headers)


@pytest.mark.parametrize("origin", ["null", "", "file://", "http://", "http://["])
def test_page_from_nowhere_is_not_ours_because_the_host_is_missing_too(origin: str) -> None:
    assert not origin_is_ours({"Origin": origin}, host="")
    with pytest.raises(ForeignOrigin):
        check_origin({"Origin": origin}, allowed=())


def test_allowed_sites_may() -> None:
    cross = {"Origin": "https://App.Example", "Sec-Fetch-Site": "cross-site"}
    assert origin_is_ours(cross, allowed="https://app.example")
    assert origin_is_ours(cross, allowed="*")
    assert not origin_is_ours({"Sec-Fetch-Site": "cross-site"}, allowed="*"), "nobody says whose"
    assert not origin_is_ours(cross, allowed="http://app.example https://app.example:8443")
    assert origin_is_ours({"Origin": "null"}, allowed="null")


@pytest.mark.parametrize(
    ("headers", "speaks"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": f"http://{HOST}"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": f"https://{HOST}"}, True),
        ({"Origin": "https://App.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": f"http://{HOST}", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Mode": "navigate"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "*"}, False),
        ({"Origin": ""}, False),
    ],
)
def test_what_browsers_add_does_not_speak_for_pages_that_any_origin_lets_in(
    headers: dict[str, str], speaks: bool
) -> None:
    allowed = ("https://app.example", "*")
    assert check_origin({"Host": HOST, **headers}, allowed=allowed, navigable=True) is speaks


def test_link_from_another_site_may_show_a_page() -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert origin_is_ours(link, navigable=True)
    assert not origin_is_ours({**link, "Sec-Fetch-Mode": "no-cors"}, navigable=True)
    assert not origin_is_ours({"Origin": "http://evil.example"}, navigable=True)


def test_refusal_names_the_site_in_short_and_the_setting() -> None:
    with pytest.raises(ForeignOrigin, match="allowed_origins") as caught:
        check_origin({"Origin": "http://" + "e" * 100_000}, allowed=())
    assert len(caught.value.message) < 300
    with pytest.raises(ForeignOrigin, match="another site"):
        check_origin({"Sec-Fetch-Site": "cross-site"}, allowed=())


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_any_headers_are_ours_or_refused(origin: str, host: str, site: str) -> None:
    origin_is_ours({"Origin": origin}, host=host)
    origin_is_ours({"Origin": origin, "Sec-Fetch-Site": site}, host=host)
