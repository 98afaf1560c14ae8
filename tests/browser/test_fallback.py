"""The page and notifier.js where WebSocket does not get through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.blocking import BlockingProxy
from tests.browser.serving import Server
from tests.browser.test_page import come_back, titles, wait_for_card, wait_for_state
from tests.faults import FaultProxy

OpenPage = Callable[[str], Page]


@pytest.fixture
def blocked(server: Server) -> Iterator[BlockingProxy]:
    with BlockingProxy(server.port) as running:
        yield running


@pytest.fixture
def make_client(context: BrowserContext) -> Callable[..., Page]:
    """A page with `client`, a Notifier; `got` holds all it was told, in order."""

    def make_client(url: str, *names: str, since: str = "latest", **options: Any) -> Page:
        page = context.new_page()
        page.goto(f"{url}/?channel=unused&transport=sse")
        page.locator("#connect").click()  # the page itself stays out of it
        page.evaluate(
            """async ([names, since, options]) => {
              const {Notifier} = await import("/static/notifier.js");
              window.client = new Notifier(undefined, options);
              window.got = [];
              window.hear = (n) => got.push([n.channel, n.offset]);
              client.on("gap", (gap) => got.push([gap.channel, "gap"]));
              client.on("error", (error) => got.push([error.channel, error.code]));
              for (const name of names) client.subscribe(name, hear, {since});
              const joined = new Set();
              await new Promise((resolve) => client.on("subscribed", ({channel}) => {
                if (joined.add(channel).size >= names.length) resolve();
              }));
            }""",
            [names, since, {"transport": "sse", **options}],
        )
        return page

    return make_client


def offsets(page: Page, channel: str) -> list[Any]:
    got = page.evaluate("got")
    return [what for name, what in got if name == channel]


def wait_for(page: Page, channel: str, offset: int) -> None:
    page.wait_for_function(
        "([channel, offset]) => got.some((n) => n[0] === channel && n[1] === offset)",
        arg=[channel, offset],
    )


def wait_until(page: Page, condition: str) -> None:
    page.wait_for_function(condition)


# --- the page -------------------------------------------------------------------------------------


def test_page_goes_on_over_server_sent_events_where_upgrades_are_refused(
    server: Server, blocked: BlockingProxy, open_page: OpenPage
) -> None:
    server.notify("alerts", title="earlier")
    page = open_page(blocked.url)
    expect(page.locator("#status")).to_have_text(re.compile("Live · SSE"))
    expect(page.locator("#status")).to_have_attribute("title", re.compile("server-sent events"))
    wait_for_card(page, "earlier")
    server.notify("alerts", title="live")
    wait_for_card(page, "live")
    page.get_by_label("Message").fill("from the page")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_contain_text("Sent to alerts")
    expect(page.locator(".card .message")).to_have_text(["from the page"])
    page.locator("#send [name=channel]").fill("two words")
    page.get_by_label("Message").fill("x")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send [name=channel]")).to_have_attribute("aria-invalid", "true")
    assert titles(page) == ["earlier", "live"]


def test_page_goes_on_where_handshakes_are_swallowed(
    server: Server, blocked: BlockingProxy, context: BrowserContext
) -> None:
    blocked.swallowing = True
    page = context.new_page()
    page.goto(blocked.url)
    wait_for_state(page, "open")
    expect(page.locator("#status")).to_have_attribute("data-transport", "sse")
    server.notify("alerts", title="live")
    wait_for_card(page, "live")


def test_page_returns_to_websocket_when_it_gets_through_again(
    server: Server, blocked: BlockingProxy, context: BrowserContext
) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(blocked.url)
    pass_time_until(page, lambda: over(page) == "sse")
    server.notify("alerts", title="before")
    pass_time_until(page, lambda: titles(page) == ["before"])
    tries = blocked.upgrades
    pass_time_until(page, lambda: blocked.upgrades > tries)
    pass_time_until(page, lambda: over(page) == "sse")  # a try that fails changes nothing
    blocked.blocking = False
    pass_time_until(page, lambda: over(page) == "websocket")
    server.notify("alerts", title="after")
    pass_time_until(page, lambda: titles(page) == ["before", "after"])


def over(page: Page) -> str | None:
    """What the page is live over."""
    status = page.locator("#status")
    open_ = status.get_attribute("data-state") == "open"
    return status.get_attribute("data-transport") if open_ else None


def pass_time_until(page: Page, happened: Callable[[], bool]) -> None:
    """Lets the page's clock run fast, in steps that leave the network time to answer."""
    for _ in range(600):
        if happened():
            return
        page.clock.run_for(500)
        page.evaluate("() => fetch('/health/live').then(() => null)")
    pytest.fail("five minutes on the page's clock were not enough")


def test_what_was_missed_is_there_once_and_in_order(
    server: Server, blocked: BlockingProxy, open_page: OpenPage
) -> None:
    page = open_page(f"{blocked.url}/?channel=alerts&channel=builds:*")
    expected = [f"n{number}" for number in range(60)]
    for number, title in enumerate(expected):
        server.notify("alerts" if number % 2 else f"builds:{number % 3}", title=title)
        if number % 20 == 7:
            blocked.cut()
            page.evaluate("dispatchEvent(new Event('online'))")
    come_back(page)
    wait_for_card(page, "n59")
    expect(page.locator(".card")).to_have_count(60)
    assert sorted(titles(page)) == sorted(expected)
    shown = [title for title in titles(page) if int(title[1:]) % 2]
    assert shown == expected[1::2]
    expect(page.locator(".gap")).to_have_count(0)


def test_gap_is_marked_when_history_was_trimmed(open_page: OpenPage) -> None:
    with Server("--history-size", "5") as server, BlockingProxy(server.port) as proxy:
        page = open_page(proxy.url)
        server.notify("alerts", title="n0")
        wait_for_card(page, "n0")
        proxy.refuse()
        proxy.cut()
        wait_for_state(page, "waiting")
        for number in range(1, 12):
            server.notify("alerts", title=f"n{number}")
        proxy.accept()
        come_back(page)
        wait_for_card(page, "n11")
        expect(page.locator(".gap")).to_have_count(1)


def test_draining_server_is_left(open_page: OpenPage) -> None:
    with Server("--drain-seconds", "3") as old, FaultProxy(old.port) as proxy, Server() as new:
        page = open_page(f"{proxy.url}/?transport=sse")
        old.notify("alerts", title="old")
        wait_for_card(page, "old")
        new.notify("alerts", title="new")
        proxy.target_port = new.port
        old.terminate()
        wait_for_card(page, "new")
        assert old.wait() == 0
        assert titles(page) == ["old", "new"]


def test_pattern_brings_channels_as_they_come_to_life(server: Server, open_page: OpenPage) -> None:
    server.notify("builds:1", title="one")
    page = open_page(f"{server.url}/?channel=builds:*&channel=builds:1&channel=alerts")
    wait_for_card(page, "one")
    server.notify("builds:2", title="two")
    server.notify("builds:1", title="three")
    server.notify("alerts", title="four")
    wait_for_card(page, "four")
    assert sorted(titles(page)) == ["four", "one", "three", "two"]
    expect(page.locator(".card-foot .channel", has_text="builds:2")).to_have_count(1)
    page.get_by_role("button", name="Drop channel builds:*").click()
    expect(page.locator(".card")).to_have_count(3)
    server.notify("builds:1", title="five")
    wait_for_card(page, "five")
    server.notify("builds:2", title="six")
    server.notify("alerts", title="seven")
    wait_for_card(page, "seven")
    assert "six" not in titles(page)


# --- the client -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_cuts_in_a_busy_stream_lose_and_repeat_nothing(
    server: Server, proxy: FaultProxy, make_client: Callable[..., Page], transport: str
) -> None:
    page = make_client(proxy.url, "alerts", "builds:*", "builds:0", transport=transport)
    for number in range(200):
        server.notify_all(
            [{"channel": channel, "message": "x"} for channel in ("alerts", f"builds:{number % 4}")]
        )
        if number % 25 == 9:
            proxy.cut()
            page.evaluate("dispatchEvent(new Event('online'))")
    wait_for(page, "alerts", 200)
    assert offsets(page, "alerts") == list(range(1, 201))
    for channel in ("builds:0", "builds:1", "builds:2", "builds:3"):
        wait_for(page, channel, 50)
        assert offsets(page, channel) == list(range(1, 51))


def test_what_is_listened_to_changes_while_notifications_come(
    server: Server, make_client: Callable[..., Page]
) -> None:
    page = make_client(server.url, "a")
    for number in range(60):
        server.notify_all([{"channel": name, "message": "x"} for name in ("a", "b", "c:1")])
        match number:
            case 10:
                page.evaluate("client.subscribe('b', hear, {since: 'all'})")
            case 20:
                page.evaluate("client.subscribe('c:*', hear, {since: 'all'})")
            case 30:
                page.evaluate("client.subscribe('no good', hear)")
            case 40:
                wait_for(page, "b", 41)  # a slow browser has yet to hear what came before
                page.evaluate("client.unsubscribe('b')")
    wait_for(page, "a", 60)
    wait_for(page, "c:1", 60)
    assert offsets(page, "a") == list(range(1, 61))
    assert offsets(page, "c:1") == list(range(1, 61))
    heard = offsets(page, "b")
    assert heard == list(range(1, len(heard) + 1))
    assert 41 <= len(heard) < 60
    wait_until(page, "got.some(([channel]) => channel === 'no good')")
    assert offsets(page, "no good") == [40004]


def test_publishing_has_the_outcomes_it_has_over_websocket(
    server: Server, proxy: FaultProxy, make_client: Callable[..., Page]
) -> None:
    page = make_client(proxy.url, "alerts")
    outcome = """async (notification) => {
      try {
        const {position} = await client.publish(notification.channel ?? "alerts", notification);
        return position === null ? null : "stored";
      } catch (error) {
        return [error.code, error.outcome, error.notification.id];
      }
    }"""
    assert page.evaluate(outcome, {"message": "x", "id": "1"}) == "stored"
    assert page.evaluate(outcome, {"priority": 9, "id": "2"}) == [40003, "refused", "2"]
    proxy.refuse()
    proxy.cut()
    wait_until(page, "() => client.state.state === 'waiting'")
    proxy.accept()
    page.evaluate("client.connect()")
    # A connection that the browser had kept may have been cut: then it says so, and the same is
    # safe to send again.
    again = "unknown"
    while again != "stored":
        again = page.evaluate(outcome, {"message": "x", "id": "1"})
        assert again in ("stored", [0, "unknown", "1"])
    page.evaluate("client.close()")
    assert page.evaluate(outcome, {"message": "y", "id": "3"}) == [0, "unsent", "3"]
    page.evaluate("client.connect()")
    server.notify("alerts", message="last")
    wait_for(page, "alerts", 2)
    history = page.evaluate("client.history('alerts', {since: '-5'})")
    assert [item.get("message") for item in history["publications"]] == ["x", "last"]


def test_stalled_stream_is_noticed_and_replaced(
    server: Server, proxy: FaultProxy, make_client: Callable[..., Page]
) -> None:
    page = make_client(proxy.url, "alerts", answerTimeout=1_500)
    server.notify("alerts", message="before")
    wait_for(page, "alerts", 1)
    proxy.stall()
    server.notify("alerts", message="during")
    page.wait_for_timeout(2_100)  # a silence that a page which is shown again doubts
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(page, "() => client.state.state !== 'open'")
    proxy.cut()
    proxy.flow()
    page.evaluate("client.connect()")
    server.notify("alerts", message="after")
    wait_for(page, "alerts", 3)
    assert offsets(page, "alerts") == [1, 2, 3]


def test_positions_of_another_client_are_resumed(
    server: Server, make_client: Callable[..., Page]
) -> None:
    for channel in ("a", "b:1"):
        server.notify(channel, message="x")
    page = make_client(server.url, "a", "b:*", since="all")
    wait_for(page, "a", 1)
    wait_for(page, "b:1", 1)
    positions = page.evaluate("(client.close(), client.positions)")
    for channel in ("a", "b:1", "b:2"):
        server.notify(channel, message="y")
    page.evaluate(
        """async (since) => {
          const {Notifier} = await import("/static/notifier.js");
          got.length = 0;
          window.client = new Notifier(undefined, {transport: "sse", since});
          client.subscribe("a", hear);
          client.subscribe("b:*", hear);
        }""",
        positions,
    )
    for channel, offset in (("a", 2), ("b:1", 2), ("b:2", 1)):
        wait_for(page, channel, offset)
    assert json.dumps(sorted(page.evaluate("got"))) == '[["a", 2], ["b:1", 2], ["b:2", 1]]'
