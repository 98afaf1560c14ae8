"""What pages of other sites can do, in a browser that lets them try."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.conftest import PATIENCE_MS
from tests.browser.guarding import Guarded, token
from tests.browser.serving import PATIENCE, Server


class _Blank(BaseHTTPRequestHandler):
    """A page without a policy of its own."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>another site</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of another site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_port
        running.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Of sites that try what they may not: what the browser says of that is expected."""
    made = browser.new_context()
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture(params=["another port", "another name", "a name below ours"])
def foreign(request: pytest.FixtureRequest, site: int) -> str:
    """The origin of a page that is not ours, on the same machine."""
    hosts = {
        "another port": "127.0.0.1",
        "another name": "evil.localhost",
        "a name below ours": "x.127.0.0.1.localhost",
    }
    return f"http://{hosts[request.param]}:{site}"


ATTEMPTS = {
    "websocket": """(url) => new Promise((resolve) => {
      const socket = new WebSocket(url.replace("http", "ws") + "/ws?channel=alerts&since=all");
      socket.onmessage = ({data}) => JSON.parse(data).type === "notification" && resolve("came");
      socket.onclose = ({code}) => resolve(code);
    })""",
    "raw websocket": """(url) => new Promise((resolve) => {
      const socket = new WebSocket(url.replace("http", "ws") + "/raw/alerts");
      socket.onopen = () => { socket.send("by another site"); };
      socket.onmessage = () => resolve("came");
      socket.onclose = ({code}) => resolve(code);
    })""",
    "read": """async (url) => {
      try {
        const answer = await fetch(url + "/channels/alerts/history");
        return (await answer.json()).publications.length > 0 ? "came" : "nothing";
      } catch (error) { return error.name; }
    }""",
    "read without asking": """async (url) => {
      try {
        const answer = await fetch(url + "/channels/alerts/history", {mode: "no-cors"});
        return answer.type + (await answer.text());
      } catch (error) { return error.name; }
    }""",
    "publish": """async (url) => {
      const request = {method: "POST", body: "by another site"};
      try {
        const answer = await fetch(url + "/notify/alerts", request);
        return answer.ok ? "came" : answer.status;
      } catch (error) { return error.name; }
    }""",
    "publish as JSON": """async (url) => {
      const request = {method: "POST", headers: {"Content-Type": "application/json"},
        body: JSON.stringify({message: "by another site"})};
      try {
        const answer = await fetch(url + "/notify/alerts", request);
        return answer.ok ? "came" : answer.status;
      } catch (error) { return error.name; }
    }""",
    "publish without asking": """async (url) => {
      const request = {method: "POST", mode: "no-cors", body: "by another site"};
      try {
        return (await fetch(url + "/notify/alerts", request)).type;
      } catch (error) { return error.name; }
    }""",
    "form": """(url) => new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), {name: "answer"});
      document.body.append(frame); // by its name from the beginning, or the form opens a window
      frame.onload = () => resolve("answered");
      const form = document.body.appendChild(document.createElement("form"));
      Object.assign(form, {method: "POST", action: url + "/notify/alerts", target: "answer"});
      const field = {name: "message", value: "by another site"};
      form.append(Object.assign(document.createElement("input"), field));
      form.submit();
    })""",
    "events": """(url) => new Promise((resolve) => {
      const source = new EventSource(url + "/events?channel=alerts&since=all");
      source.onmessage = () => resolve("came");
      source.onerror = () => resolve(source.readyState === 2 ? "refused" : "lost");
    })""",
    "ticket": """async (url) => {
      try {
        return (await fetch(url + "/ticket", {method: "POST"})).ok ? "came" : "no";
      } catch (error) { return error.name; }
    }""",
}
PUBLISHES = ("raw websocket", "publish", "publish as JSON", "publish without asking", "form")
REFUSED = {
    "websocket": 1006,
    "raw websocket": 1006,
    "read": "TypeError",
    "read without asking": "TypeError",  # not even as an answer that can't be looked into
    "publish": "TypeError",
    "publish as JSON": "TypeError",
    "publish without asking": "TypeError",
    "form": "answered",  # with a refusal, which the page can't see either
    "events": "refused",
    "ticket": "TypeError",
}


def messages(server: Server) -> list[str]:
    """What is in the channel, as the server itself tells."""
    request = urllib.request.Request(
        f"{server.url}/channels/alerts/history", headers=server.headers
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        found = json.loads(answer.read())["publications"]
    return [one["message"] for one in found]


def attempt(page: Page, what: str, server: Server) -> Any:
    hung = "new Promise((resolve) => setTimeout(resolve, 20_000, 'hung'))"
    return page.evaluate(f"(url) => Promise.race([({ATTEMPTS[what]})(url), {hung}])", server.url)


@pytest.mark.parametrize("allowing", ["nobody", "somebody else"])
def test_a_foreign_page_can_neither_listen_nor_read_nor_publish(
    visitor: BrowserContext, foreign: str, allowing: str
) -> None:
    others = ("--allowed-origins", "https://friend.example") if allowing != "nobody" else ()
    with Server(*others) as server:
        server.notify("alerts", message="ours")
        page = visitor.new_page()
        page.goto(foreign)
        outcomes = {}
        for what in ATTEMPTS:
            outcomes[what] = attempt(page, what, server)
        assert outcomes == REFUSED
        assert messages(server) == ["ours"]


def test_a_page_of_an_allowed_site_can(visitor: BrowserContext, foreign: str) -> None:
    """Also, that the test above could fail."""
    with Server("--allowed-origins", foreign) as server:
        server.notify("alerts", message="ours")
        page = visitor.new_page()
        page.goto(foreign)
        for what in ("websocket", "read", "events", "ticket", *PUBLISHES[:3]):
            assert attempt(page, what, server) == "came", what
        assert attempt(page, "publish without asking", server) == "opaque"
        assert attempt(page, "form", server) == "answered"
        assert messages(server) == ["ours", *["by another site"] * len(PUBLISHES)]


def test_the_form_of_an_allowed_site_is_not_that_of_another(
    visitor: BrowserContext, site: int
) -> None:
    with Server("--allowed-origins", f"http://friend.localhost:{site}") as server:
        server.notify("alerts", message="ours")
        for host in ("evil.localhost", "friend.localhost.evil.localhost", "127.0.0.1"):
            page = visitor.new_page()
            page.goto(f"http://{host}:{site}")
            assert attempt(page, "form", server) == "answered"
            assert attempt(page, "websocket", server) == 1006
        assert messages(server) == ["ours"]


CONNECT = """async ([url, token, transport, module]) => {
  const {Notifier} = await import(module);
  const client = new Notifier(url + "/ws", {token, transport});
  const heard = new Promise((resolve) => client.subscribe("alerts", ({message}) => resolve(message),
    {since: "all"}));
  const ended = new Promise((resolve) => client.on("state", ({state, reason}) =>
    ["refused", "failed", "waiting"].includes(state) && resolve(state)));
  return Promise.race([heard, ended]);
}"""


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_a_token_does_not_open_the_door_to_a_foreign_page(
    tmp_path: Path, visitor: BrowserContext, foreign: str, transport: str
) -> None:
    folders = tmp_path / "shut", tmp_path / "open"
    for folder in folders:
        folder.mkdir()
    shut, allowing = Guarded(folders[0]), Guarded(folders[1], "--allowed-origins", foreign)
    with shut as server, allowing as open_to:
        for each in (server, open_to):
            each.notify("alerts", message="ours")
        page = visitor.new_page()
        page.goto(foreign)
        # Its own copy of the client, from a server that lets it.
        module = f"{open_to.url}/static/notifier.js"
        arguments = [token("alerts"), transport, module]
        assert page.evaluate(CONNECT, [open_to.url, *arguments]) == "ours"
        assert page.evaluate(CONNECT, [server.url, *arguments]) in ("waiting", "failed")


# With all that the browser has for the server.
AS_THE_VISITOR = {
    "websocket": ATTEMPTS["websocket"],
    "raw websocket": ATTEMPTS["raw websocket"],
    "read": """async (url) => {
      try {
        const answer = await fetch(url + "/channels/alerts/history", {credentials: "include"});
        return answer.ok ? "came" : answer.status;
      } catch (error) { return error.name; }
    }""",
    "publish without asking": """async (url) => {
      const request = {method: "POST", mode: "no-cors", body: "by another site",
        credentials: "include"};
      return (await fetch(url + "/notify/alerts", request)).type;
    }""",
    "form": ATTEMPTS["form"],
    "events": """(url) => new Promise((resolve) => {
      const source = new EventSource(url + "/events?channel=alerts&since=all",
        {withCredentials: true});
      source.onmessage = () => resolve("came");
      source.onerror = () => resolve(source.readyState === 2 ? "refused" : "lost");
    })""",
    "ticket": """async (url) => {
      try {
        const request = {method: "POST", credentials: "include"};
        return (await fetch(url + "/ticket", request)).ok ? "came" : "no";
      } catch (error) { return error.name; }
    }""",
}


@pytest.mark.parametrize("allowing", ["any", "this one"])
def test_where_any_page_may_none_acts_as_the_visitor(
    tmp_path: Path, visitor: BrowserContext, site: int, allowing: str
) -> None:
    # Another port is no other site: browsers bring even their strictest cookies along.
    foreign = f"http://127.0.0.1:{site}"
    allowed = "*" if allowing == "any" else foreign
    with Guarded(tmp_path, "--allowed-origins", allowed, "--token-cookie", "session") as server:
        server.notify("alerts", message="ours")
        cookie = {"name": "session", "value": token("alerts", publish=True), "url": server.url}
        visitor.add_cookies([cookie])  # type: ignore[list-item]
        page = visitor.new_page()
        page.goto(foreign)
        outcomes = {}
        for what, script in AS_THE_VISITOR.items():
            hung = "new Promise((resolve) => setTimeout(resolve, 3_000, 'nothing'))"
            outcomes[what] = page.evaluate(
                f"(url) => Promise.race([({script})(url), {hung}])", server.url
            )
        if allowing == "any":
            assert outcomes == {
                "websocket": "nothing",  # open, and nobody's
                "raw websocket": 1006,
                "read": "TypeError",
                "publish without asking": "opaque",
                "form": "answered",
                "events": "refused",
                "ticket": "TypeError",
            }
            assert messages(server) == ["ours"]
        else:
            assert outcomes["websocket"] == "came", "that it could be otherwise"
            assert messages(server) == ["ours", *["by another site"] * 3]
        # What the page has of its own is good.
        module = f"{server.url}/static/notifier.js"
        for transport in ("websocket", "sse"):
            arguments = [server.url, token("alerts"), transport, module]
            assert page.evaluate(CONNECT, arguments) == "ours"


def test_without_keys_any_page_may_do_everything_where_any_may(
    visitor: BrowserContext, foreign: str
) -> None:
    with Server("--allowed-origins", "*") as server:
        server.notify("alerts", message="ours")
        assert any("server.open_to_any_page" in line for line in server.log)
        page = visitor.new_page()
        page.goto(foreign)
        for what in ("websocket", "read", "events", "ticket", *PUBLISHES[:3]):
            assert attempt(page, what, server) == "came", what
