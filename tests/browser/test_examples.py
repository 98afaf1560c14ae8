"""The pages of ``examples/`` and of the tutorial, from the disk and from a site of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.serving import ROOT, Server
from tests.docs.markdown import blocks, read

EXAMPLES = ROOT / "examples"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Another site: what ``python3 -m http.server -d folder`` does."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(EXAMPLES) as url:
        yield url


@pytest.fixture
def friend(site: str, tmp_path: Path) -> Iterator[Server]:
    """A server that lets the site's pages in, and keeps its history in a file."""
    with Server(*friendly(site, tmp_path)) as running:
        yield running


def friendly(site: str, folder: Path) -> list[str]:
    return ["--allowed-origins", site, "--broker", f"sqlite:{folder / 'notifier.db'}"]


def open_example(context: BrowserContext, url: str, server: Server, *, scheme: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}?server={quote(server.url.replace('http', scheme, 1))}")
    return page


# --- echo.html ---


def test_echo_page_works_from_the_disk(context: BrowserContext, server: Server) -> None:
    page = open_example(context, (EXAMPLES / "echo.html").as_uri(), server, scheme="ws")
    expect(page.locator("li")).to_have_text(["connected"])
    page.get_by_placeholder("Say something").fill("Ça va ? <b>oui</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li")).to_have_text(["connected", "Reçu: Ça va ? <b>oui</b>"])


# --- browser.html ---


def test_both_ways_show_what_comes_and_what_came_meanwhile(
    context: BrowserContext, site: str, friend: Server, tmp_path: Path
) -> None:
    page = open_example(context, f"{site}/browser.html", friend, scheme="http")
    socket, events = page.locator("#socket"), page.locator("#events")
    for way in (socket, events):
        expect(way.locator("p")).to_have_text("connected")
    # Both are subscribed when both have seen one.
    friend.notify("alerts", title="db1", message="Disk full")
    for way in (socket, events):
        expect(way.locator("li")).to_have_text(["db1: Disk full"])
    friend.kill()
    expect(events.locator("p")).to_have_text("coming back")
    with Server(*friendly(site, tmp_path), port=friend.port) as again:
        again.notify("alerts", message="while you were away")
        for way in (socket, events):
            expect(way.locator("p")).to_have_text("connected")
            expect(way.locator("li")).to_have_text(["db1: Disk full", "while you were away"])


@pytest.mark.parametrize("from_disk", [True, False])
def test_pages_of_others_are_kept_out(
    browser: Browser, site: str, server: Server, from_disk: bool
) -> None:
    url = (EXAMPLES / "browser.html").as_uri() if from_disk else f"{site}/browser.html"
    # Their complaints are right.
    context = browser.new_context()
    page = open_example(context, url, server, scheme="http")
    expect(page.locator("#socket p")).to_contain_text("closed 1006")
    expect(page.locator("#events p")).to_have_text("refused")
    context.close()


# --- chat.html ---


def test_chat_is_heard_by_all_and_remembered(
    context: BrowserContext, site: str, friend: Server
) -> None:
    def say(page: Page, who: str, what: str) -> None:
        page.get_by_placeholder("Your name").fill(who)
        page.get_by_placeholder("Say something").fill(what)
        page.get_by_role("button", name="Send").click()

    pages = [open_example(context, f"{site}/chat.html", friend, scheme="ws") for _ in range(2)]
    for page in pages:
        expect(page.locator("main p")).to_have_text(["You are in."])
    say(pages[0], "Ada", "Hello <img src=x>")
    say(pages[1], "Bob", "Salut")
    late = open_example(context, f"{site}/chat.html", friend, scheme="ws")
    for page in [*pages, late]:
        said = page.locator("main p:not(.note)")
        expect(said).to_have_count(2)
        assert sorted(said.all_inner_texts()) == ["Ada: Hello <img src=x>", "Bob: Salut"]


# --- docs/tutorial.md ---


def test_page_of_the_tutorial_shows_what_it_missed(context: BrowserContext, tmp_path: Path) -> None:
    (html,) = (block.text for block in blocks(read("tutorial.md")) if block.language == "html")
    with serving(tmp_path) as site, Server(*friendly(site, tmp_path)) as first:
        wall = html.replace("http://localhost:8888", f"http://localhost:{first.port}")
        assert wall != html
        (tmp_path / "wall.html").write_text(wall)
        first.notify("alerts", message="before")
        page = context.new_page()
        page.goto(f"{site}/wall.html")
        first.notify("alerts", title="db1", message="Hello, wall")
        shown = page.get_by_role("listitem")
        expect(shown).to_have_text(["before", "db1: Hello, wall"])
        first.terminate()
        first.wait()
        with Server(*friendly(site, tmp_path), port=first.port) as again:
            again.notify("alerts", message="Sent before the page was back")
            expect(shown).to_have_text(
                ["before", "db1: Hello, wall", "Sent before the page was back"]
            )
