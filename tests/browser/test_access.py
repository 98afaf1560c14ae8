"""Who is at the page, and what it does when the server asks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.blocking import BlockingProxy
from tests.browser.guarding import Guarded, token
from tests.browser.test_page import wait_for_card, wait_for_state


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with Guarded(tmp_path) as running:
        yield running


@pytest.fixture
def without_websocket(guarded: Guarded) -> Iterator[BlockingProxy]:
    with BlockingProxy(guarded.port) as running:
        yield running


def why(page: Page) -> str:
    return page.locator("#access-why").inner_text()


def give(page: Page, text: str, *, keep: bool = False) -> None:
    page.get_by_label("Key or token").fill(text)
    page.get_by_label("Keep it").set_checked(keep)
    page.get_by_role("button", name="Use it").click()


def kept(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.evaluate("({...sessionStorage, ...localStorage})")
    return found


def visit(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    wait_for_state(page, "open")
    return page


# --- the page -------------------------------------------------------------------------------------


def test_page_asks_who_is_there_and_goes_on_when_it_knows(
    guarded: Guarded, context: BrowserContext
) -> None:
    guarded.notify("alerts", title="before")
    page = visit(context, f"{guarded.url}/?channel=alerts&channel=builds:*")
    expect(page.locator("#access-why")).to_have_text(
        "To listen to alerts and builds:* you need a key or a token."
    )
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    expect(page.locator(".chip[data-state=refused]")).to_have_count(2)
    expect(page.locator(".card")).to_have_count(0)
    # The line to try would be refused without one.
    with_key = re.compile(r'^curl -H "Authorization: Bearer \$KEY" -d ')
    expect(page.locator("#curl")).to_have_text(with_key)
    give(page, token("alerts", "builds:*"))
    wait_for_card(page, "before")
    expect(page.locator("#access-form")).to_be_hidden()
    expect(page.locator("#access-who")).to_have_text("Your token is in use")
    expect(page.locator(".chip[data-state=joined]")).to_have_count(2)
    guarded.notify("builds:1", title="after")
    wait_for_card(page, "after")
    expect(page.locator("#curl")).to_have_text(with_key)
    assert kept(page) == {}
    assert "bearer" not in page.url and "eyJ" not in page.url


def test_page_that_waits_for_a_key_keeps_what_is_typed_while_it_is_sent_away_and_comes_back(
    tmp_path: Path, context: BrowserContext
) -> None:
    with Guarded(tmp_path, "--authenticate-timeout", "1") as guarded:
        page = visit(context, f"{guarded.url}/?channel=alerts")
        expect(page.locator("#access-form")).to_be_visible()
        field = page.get_by_label("Key or token")
        field.fill("half of a ke")
        field.focus()
        page.evaluate(
            """() => {
              window.seen = [];
              const status = document.getElementById("status");
              new MutationObserver(() => window.seen.push(status.dataset.state)).observe(
                status, { attributes: true, attributeFilter: ["data-state"] });
            }"""
        )
        page.wait_for_function("() => window.seen.includes('open')")  # it has gone and come back
        expect(page.locator("#access-form")).to_be_visible()
        expect(field).to_have_value("half of a ke")
        expect(field).to_be_focused()
        give(page, token("alerts"))
        expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
        expect(page.locator("#access-form")).to_be_hidden()


def empty(page: Page) -> str:
    """What stands where notifications would."""
    return re.sub(r"\s+", " ", page.locator("#empty").inner_text())


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_page_does_not_say_that_it_listens_where_it_may_not(
    guarded: Guarded, context: BrowserContext, transport: str
) -> None:
    page = visit(context, f"{guarded.url}/?channel=alerts&channel=builds:*&transport={transport}")
    title = page.locator("#empty-title")
    expect(title).to_have_text("Not listening")
    expect(page.locator("#status-text")).to_have_text(re.compile("^No access"))
    assert empty(page) == (
        "Not listening To listen to alerts and builds:* you need a key or a token. "
        "Give a key or a token"
    )
    page.get_by_role("button", name="Give a key or a token").click()
    expect(page.get_by_label("Key or token")).to_be_focused()
    give(page, guarded.reader)  # for alerts alone
    expect(title).to_have_text("Listening, but not to all")
    expect(page.locator("#status-text")).to_have_text(re.compile("^Live"))
    assert "This key may not listen to builds:*. Give another key or token" in empty(page)
    assert "notify/alerts" in empty(page), "where something would come"
    page.get_by_role("button", name="Drop channel alerts").click()
    expect(title).to_have_text("Not listening")
    assert "notify/" not in empty(page)
    page.get_by_role("button", name="Drop channel builds:*").click()
    expect(title).to_have_text("No channel to listen to")
    expect(page.locator("#status-text")).to_have_text(re.compile("^Live"))
    page.get_by_label("Channel to add").fill("open:1")
    page.get_by_role("button", name="Add").click()
    expect(title).to_have_text("Listening")
    expect(page.locator("#empty-access")).to_be_hidden()


def test_page_does_not_say_that_it_listens_with_a_wrong_key(
    guarded: Guarded, context: BrowserContext
) -> None:
    page = visit(context, f"{guarded.url}/?channel=alerts")
    give(page, "nk_" + "a" * 12 + "_" + "b" * 43)
    wait_for_state(page, "refused")
    expect(page.locator("#empty-title")).to_have_text("Not let in")
    assert "This API key is not known here" in empty(page)
    page.get_by_role("button", name="Give another key or token").click()
    expect(page.get_by_label("Key or token")).to_be_focused()


def test_page_does_not_ask_where_nobody_is_asked(context: BrowserContext, guarded: Guarded) -> None:
    page = visit(context, f"{guarded.url}/?channel=open:1")
    expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
    expect(page.locator("#access")).to_be_hidden()
    expect(page.locator("#curl")).to_have_text(re.compile("^curl -d "))


def test_page_asks_when_what_is_sent_is_refused(guarded: Guarded, context: BrowserContext) -> None:
    page = visit(context, f"{guarded.url}/?channel=open:1")
    page.locator("#send [name=channel]").fill("alerts")
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Send", exact=True).click()
    refusal = "To send to alerts you need a key or a token."
    expect(page.locator("#send-outcome")).to_have_text(refusal)
    expect(page.locator("#access-why")).to_have_text(refusal)
    give(page, guarded.reader)
    expect(page.locator("#access-who")).to_have_text("Your key is in use")
    wait_for_state(page, "open")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#access-why")).to_have_text("This key may not send to alerts.")
    give(page, guarded.key)
    wait_for_state(page, "open")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_contain_text("Sent to alerts")
    expect(page.locator("#access-form")).to_be_hidden()


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_page_tells_of_a_wrong_key_in_the_words_of_the_server(
    guarded: Guarded, context: BrowserContext, transport: str
) -> None:
    page = context.new_page()
    page.goto(f"{guarded.url}/?transport={transport}")
    expect(page.locator("#access-form")).to_be_visible()
    give(page, "nk_" + "a" * 12 + "_" + "b" * 43)
    wait_for_state(page, "refused")
    expect(page.locator("#access-why")).to_contain_text(re.compile(r"key", re.IGNORECASE))
    expect(page.get_by_label("Key or token")).to_be_focused()
    expect(page.get_by_label("Key or token")).to_have_value("")
    give(page, "not a key at all")
    expect(page.locator("#access-why")).to_contain_text("no key and no token")
    give(page, token("alerts"))
    wait_for_state(page, "open")
    guarded.notify("alerts", title="came")
    wait_for_card(page, "came")


def test_page_keeps_a_token_only_if_told_and_forgets_it_when_told(
    guarded: Guarded, context: BrowserContext
) -> None:
    page = visit(context, guarded.url)
    shown = token("alerts")
    give(page, shown, keep=True)
    expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
    assert kept(page) == {"notifier.token": shown}
    page.reload()
    expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
    expect(page.locator("#access-form")).to_be_hidden()
    other = visit(context, guarded.url)  # another tab knows nothing of it
    expect(other.locator("#access-form")).to_be_visible()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#access-why")).to_contain_text("To listen to alerts you need")
    assert kept(page) == {}
    guarded.notify("alerts", title="not for you")
    page.reload()
    expect(page.locator("#access-form")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)


def test_page_without_storage_works_all_the_same(guarded: Guarded, context: BrowserContext) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new Error('denied') }})"
    )
    page = visit(context, guarded.url)
    give(page, token("alerts"), keep=True)
    expect(page.locator(".chip[data-state=joined]")).to_have_count(1)


def test_page_over_server_sent_events_asks_and_goes_on(
    guarded: Guarded, without_websocket: BlockingProxy, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{without_websocket.url}/?channel=alerts")
    expect(page.locator("#access-why")).to_contain_text("To listen to alerts you need")
    give(page, token("alerts"))
    expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
    expect(page.locator("#status")).to_have_attribute("data-transport", "sse")
    guarded.notify("alerts", title="came")
    wait_for_card(page, "came")


# --- the client -----------------------------------------------------------------------------------

# `throttled`: nobody renews in time, as in a tab whose timers are.
MAKE_CLIENT = """async ({token, transport, throttled}) => {
  const {Notifier} = await import("/static/notifier.js");
  window.asked = 0;
  window.states = [];
  window.got = [];
  window.fresh = async () => { asked += 1; return newToken(); };
  const later = (callback, ms) => (ms > 1000 && ms < 1600 ? 0 : setTimeout(callback, ms));
  const platform = throttled ? {setTimeout: later} : {};
  const options = {token: token ?? fresh, transport, maxDelay: 500, platform};
  window.client = new Notifier(undefined, options);
  client.on("state", ({state, code, reason}) => states.push([state, code, reason]));
  client.on("gap", () => got.push("gap"));
  client.subscribe("alerts", ({offset}) => got.push(offset), {since: "all"});
}"""


@pytest.fixture
def make_client(guarded: Guarded, context: BrowserContext) -> Callable[..., Page]:
    """A page with `client`, a Notifier on `alerts`: with a text, or a function that gets tokens of
    so many seconds."""

    def make_client(
        transport: str, text: str | None = None, *, seconds: float = 0, throttled: bool = False
    ) -> Page:
        page = context.new_page()
        page.expose_function("newToken", lambda: token("alerts", seconds=seconds))
        page.goto(f"{guarded.url}/?channel=open:unused")
        page.locator("#connect").click()  # the page itself stays out of it
        options = {"token": text, "transport": transport, "throttled": throttled}
        page.evaluate(MAKE_CLIENT, options)
        return page

    return make_client


def states(page: Page) -> list[Any]:
    return json.loads(json.dumps(page.evaluate("states.map(([state]) => state)")))


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_tokens_that_end_are_renewed_without_a_gap(
    guarded: Guarded, make_client: Callable[..., Page], transport: str
) -> None:
    page = make_client(transport, seconds=4)
    page.wait_for_function("() => client.state.state === 'open'")
    number = 0
    while page.evaluate("asked") < 5:  # about eight seconds, the lives of two tokens
        guarded.notify("alerts", message="x")
        number += 1
        page.wait_for_timeout(50)
    page.wait_for_function("(last) => got.at(-1) === last", arg=number)
    assert page.evaluate("got") == list(range(1, number + 1))
    assert states(page) == ["connecting", "open"]  # one connection, all the time


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_tokens_that_end_unrenewed_bring_the_client_back_with_fresh_ones(
    guarded: Guarded, make_client: Callable[..., Page], transport: str
) -> None:
    page = make_client(transport, seconds=3, throttled=True)
    page.wait_for_function("() => client.state.state === 'open'")
    number = 0
    while page.evaluate("asked") < 3:
        guarded.notify("alerts", message="x")
        number += 1
        page.wait_for_timeout(50)
    page.wait_for_function("(last) => got.at(-1) === last", arg=number)
    assert page.evaluate("got") == list(range(1, number + 1))
    assert states(page)[:4] == ["connecting", "open", "connecting", "open"]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_text_that_ends_is_told_and_the_end(
    make_client: Callable[..., Page], transport: str
) -> None:
    for seconds in (2, 4, 8, 16):
        page = make_client(transport, token("alerts", seconds=seconds))
        page.wait_for_function("() => client.state.state === 'refused'")
        if "open" in states(page):
            break  # else it had ended before this machine had opened a connection
    assert states(page) == ["connecting", "open", "refused"]
    state = page.evaluate("client.state")
    assert state["code"] == {"websocket": 4401, "sse": 40102}[transport]
    assert "time" in state["reason"]


@pytest.mark.parametrize("transport", ["websocket", "sse", "auto"])
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("nk_aaaaaaaaaaaa_" + "b" * 43, 40101),
        (token("alerts")[:-3] + "abc", 40101),
        (token("alerts", seconds=-5), 40102),
    ],
)
def test_a_wrong_key_or_token_is_told_with_its_code_and_sentence(
    make_client: Callable[..., Page], transport: str, wrong: str, code: int
) -> None:
    page = make_client(transport, wrong)
    page.wait_for_function("() => client.state.state === 'refused'")
    state = page.evaluate("client.state")
    assert state["code"] == code
    assert len(state["reason"]) > 10
    assert wrong not in json.dumps(page.evaluate("states"))


def test_a_key_that_is_revoked_ends_the_client(
    guarded: Guarded, make_client: Callable[..., Page]
) -> None:
    key = guarded.new_key("gone-soon", "alerts")
    page = make_client("websocket", key)
    # The server sees a new key within a second or two; until then it is none.
    page.wait_for_function(
        """() => {
      if (client.state.state === "refused") client.connect();
      return client.state.state === "open";
    }""",
        polling=200,
    )
    guarded.file.remove("gone-soon")
    page.wait_for_function("() => client.state.state === 'refused'")
    assert page.evaluate("client.state.code") == 4503


def test_no_key_and_no_token_is_in_what_the_server_logs_or_the_browser_asks_for(
    guarded: Guarded, context: BrowserContext
) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    secret = token("alerts")
    for transport in ("websocket", "sse"):
        page = context.new_page()
        page.goto(f"{guarded.url}/?transport={transport}")
        expect(page.locator("#access-form")).to_be_visible()
        give(page, secret)
        expect(page.locator(".chip[data-state=joined]")).to_have_count(1)
    assert any("ticket=ticket_" in url for url in asked)
    assert not any(secret in url for url in asked)
    assert not any(secret in line or "ticket_" in line for line in guarded.log)
