"""Chromium's own EventSource against `/events`, without a line of ours around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.serving import Server
from tests.faults import FaultProxy

Follow = Callable[[str, str], Page]


@pytest.fixture
def follow(context: BrowserContext) -> Follow:
    """A page that follows a URL with an EventSource; `got` holds all that came, in order."""

    def follow(base: str, url: str) -> Page:
        page = context.new_page()
        page.goto(base + "/static/package.json")  # of the same origin, without a script of ours
        page.evaluate(
            """(url) => {
              window.got = [];
              window.errors = 0;
              const keep = ({type, data}) => got.push([type, JSON.parse(data)]);
              window.events = new EventSource(url);
              events.onmessage = keep;
              for (const type of ["subscribed", "gap", "unsubscribed", "reconnect", "refused",
                                  "keepalive"]) {
                events.addEventListener(type, keep);
              }
              events.onerror = () => errors += 1;
            }""",
            url,
        )
        return page

    return follow


def wait_for(page: Page, kind: str, channel: str, offset: int | None = None) -> None:
    page.wait_for_function(
        """([kind, channel, offset]) => got.some(([type, data]) => type === kind
          && data.channel === channel && (offset === null || data.offset === offset))""",
        arg=[kind, channel, offset],
    )


def offsets(page: Page, channel: str) -> list[int]:
    return [data["offset"] for data in all_of(page, "message") if data["channel"] == channel]


def all_of(page: Page, kind: str) -> list[dict[str, Any]]:
    return [data for type_, data in page.evaluate("got") if type_ == kind]


def publish(server: Server, channels: tuple[str, ...], *, times: int) -> None:
    for _ in range(times):
        server.notify_all([{"channel": channel, "message": "x"} for channel in channels])


def test_one_channel_is_resumed_by_itself(
    server: Server, proxy: FaultProxy, follow: Follow
) -> None:
    page = follow(proxy.url, "/events?channel=alerts")
    wait_for(page, "subscribed", "alerts")
    for offset in (30, 60, 90):
        publish(server, ("alerts",), times=15)
        proxy.cut()
        publish(server, ("alerts",), times=15)
        wait_for(page, "message", "alerts", offset)
    assert offsets(page, "alerts") == list(range(1, 91))
    assert all(data["recovered"] for data in all_of(page, "subscribed"))
    assert page.evaluate("errors") == 3


def test_several_channels_and_a_pattern_are_resumed_by_themselves(
    server: Server, proxy: FaultProxy, follow: Follow
) -> None:
    page = follow(proxy.url, "/events?channel=alerts&channel=größe&channel=builds:*")
    wait_for(page, "subscribed", "builds:*")
    channels: tuple[str, ...] = ("alerts", "größe")
    for offset in (30, 60, 90):
        publish(server, channels, times=15)
        proxy.cut()
        channels += (f"builds:{offset}",)  # born while nobody is there
        publish(server, channels, times=15)
        for channel in ("alerts", "größe"):
            wait_for(page, "message", channel, offset)
        wait_for(page, "message", f"builds:{offset}", 15)
    expected = {"alerts": 90, "größe": 90, "builds:30": 75, "builds:60": 45, "builds:90": 15}
    for channel, count in expected.items():
        wait_for(page, "message", channel, count)
        assert offsets(page, channel) == list(range(1, count + 1))
    assert all_of(page, "gap") == []


def test_channel_that_said_nothing_yet_is_resumed_from_where_it_was_joined(follow: Follow) -> None:
    with Server("--ping-interval", "0.2") as server, FaultProxy(server.port) as proxy:
        publish(server, ("alerts", "builds"), times=3)
        for url in ("/events?channel=alerts", "/events?channel=alerts&channel=builds"):
            page = follow(proxy.url, url)
            # The place follows the last `subscribed` and fires nothing. This comes after both.
            page.wait_for_function(
                "() => got.map(([type]) => type).join().includes('subscribed,keepalive')"
            )
            proxy.cut()
            first = len(server_history(page)) + 1
            publish(server, ("alerts",), times=1)
            wait_for(page, "message", "alerts", first)
            assert offsets(page, "alerts") == [first]
            page.evaluate("events.close()")


def server_history(page: Page) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = page.evaluate(
        "async () => (await (await fetch('/channels/alerts/history')).json()).publications"
    )
    return history


def test_gap_is_told_after_history_was_trimmed(follow: Follow) -> None:
    with Server("--history-size", "5") as server, FaultProxy(server.port) as proxy:
        page = follow(proxy.url, "/events?channel=alerts")
        wait_for(page, "subscribed", "alerts")
        publish(server, ("alerts",), times=1)
        wait_for(page, "message", "alerts", 1)
        proxy.refuse()
        proxy.cut()
        publish(server, ("alerts",), times=20)
        proxy.accept()
        wait_for(page, "message", "alerts", 21)
        assert offsets(page, "alerts") == [1, 17, 18, 19, 20, 21]
        told = all_of(page, "subscribed")[-1]
        assert told["recovered"] is False
        assert [told["gap"][end].split(":")[1] for end in ("after", "before")] == ["1", "17"]


def test_draining_server_sends_it_elsewhere(follow: Follow) -> None:
    with Server("--drain-seconds", "1") as old, FaultProxy(old.port) as proxy, Server() as new:
        page = follow(proxy.url, "/events?channel=alerts")
        wait_for(page, "subscribed", "alerts")
        publish(old, ("alerts",), times=1)
        wait_for(page, "message", "alerts", 1)
        publish(new, ("alerts",), times=2)
        proxy.target_port = new.port
        old.terminate()
        wait_for(page, "message", "alerts", 2)
        assert old.wait() == 0
        assert len(all_of(page, "reconnect")) == 1


def test_what_is_wrong_for_good_is_not_asked_for_again(server: Server, follow: Follow) -> None:
    page = follow(server.url, "/events?channel=two%20words")
    page.wait_for_function("() => events.readyState === EventSource.CLOSED")
    assert page.evaluate("errors") == 1
