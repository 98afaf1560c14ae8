"""Headless Chromium, and the page as a test reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.serving import Server
from tests.faults import FaultProxy

# Slowness is no bug, but a silent connection is doubted after 35 s, and what is waited for must not
# come about by that. (`expect` has a default of its own.)
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("Chromium is missing; install it with: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own; whatever its pages complain about fails the test."""
    made = browser.new_context(viewport={"width": 1280, "height": 860})
    made.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    made.on("weberror", lambda problem: complaints.append(str(problem.error)))
    made.on("console", lambda message: complaints.append(message.text) if _bad(message) else None)
    yield made
    made.close()
    assert complaints == []


def _bad(message: object) -> bool:
    """An error of the page's own, such as a breach of its policy. (Lost connections are ours.)"""
    text = getattr(message, "text", "")
    network = ("WebSocket connection to", "net::ERR_", "Failed to load resource")
    return getattr(message, "type", "") == "error" and not any(word in text for word in network)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as running:
        yield running


@pytest.fixture
def open_page(context: BrowserContext) -> Callable[[str], Page]:
    """Opens a URL in a new tab, and waits until the page is live."""

    def open_page(url: str) -> Page:
        page = context.new_page()
        page.goto(url)
        page.locator("#status[data-state=open]").wait_for()
        page.locator(".chip[data-state=waiting]").first.wait_for(state="detached")
        return page

    return open_page
