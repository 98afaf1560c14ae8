"""notifier.js at a server that lets nobody send as fast as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.serving import Server


@pytest.fixture
def slow() -> Iterator[Server]:
    """Takes 20 publications and 20 commands at once, and then 10 in a second."""
    limits = ("--max-publishes-per-second", "10", "--max-commands-per-second", "10")
    with Server(*limits) as running:
        yield running


def client_at(context: BrowserContext, server: Server, **options: Any) -> Page:
    """A page with `client`, a Notifier; `errors` are those that it emits."""
    page = context.new_page()
    page.goto(f"{server.url}/?channel=unused")
    page.locator("#connect").click()  # the page itself stays out of it
    page.evaluate(
        """async (options) => {
          const {Notifier} = await import("/static/notifier.js");
          window.client = new Notifier(undefined, options);
          window.errors = [];
          client.on("error", ({code}) => errors.push(code));
          await new Promise((resolve) => {
            client.on("state", ({state}) => state === "open" && resolve());
          });
        }""",
        options,
    )
    return page


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_all_that_is_published_at_once_is_stored_once(
    slow: Server, context: BrowserContext, transport: str
) -> None:
    page = client_at(context, slow, transport=transport)
    stored = page.evaluate(
        """async () => {
          const asked = [...Array(30).keys()].map((n) => client.publish("a", `${n}`));
          return (await Promise.all(asked)).map(({position}) => Number(position.split(":")[1]));
        }"""
    )
    assert sorted(stored) == list(range(1, 31))
    assert page.evaluate("errors") == []


def test_many_channels_are_all_followed_and_all_left(slow: Server, context: BrowserContext) -> None:
    page = client_at(context, slow, transport="websocket")
    page.evaluate(
        """async () => {
          window.names = [...Array(40).keys()].map((n) => `c${n}`);
          window.heard = [];
          const joined = new Set();
          await new Promise((resolve) => {
            client.on("subscribed", ({channel}) => joined.add(channel).size === 40 && resolve());
            for (const name of names) client.subscribe(name, ({channel}) => heard.push(channel));
          });
        }"""
    )
    slow.notify_all([{"channel": f"c{number}", "message": "x"} for number in range(20)])
    page.wait_for_function("() => heard.length === 20")
    left = page.evaluate(
        """async () => {
          for (const name of names) client.unsubscribe(name);
          for (;;) {
            const {channels} = await (await fetch("/channels?limit=100")).json();
            if (channels.every(({subscribers}) => subscribers === 0)) return channels.length;
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        }"""
    )
    assert left == 20, "those that something was published to"
    assert page.evaluate("errors") == []


def test_what_can_not_be_sent_in_time_is_told(context: BrowserContext) -> None:
    # Commands are read as fast as they come, or their own limit would make them slow enough.
    limits = ("--max-publishes-per-second", "1", "--max-commands-per-second", "0")
    with Server(*limits) as server:
        told = publish_60(client_at(context, server, transport="websocket", answerTimeout=500))
    assert told.count(None) >= 2
    assert ["refused", True] in told, "the server's own word where there is one"


def publish_60(page: Page) -> list[Any]:
    """How each of them failed, if it did."""
    told: list[Any] = page.evaluate(
        """async () => {
          const asked = [...Array(60).keys()].map((n) => client.publish("a", `${n}`));
          const became = await Promise.allSettled(asked);
          return became.map(({reason}) => reason && [reason.outcome, reason.temporary]);
        }"""
    )
    return told
