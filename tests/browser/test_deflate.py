"""Chromium offers permessage-deflate with every WebSocket: both ways are compressed."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.serving import Server

CONNECT = """async ([url, count]) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const came = [];
  window.socket = socket;
  window.came = new Promise((resolve, reject) => {
    socket.onmessage = ({data}) => {
      came.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
      if (came.length === count) resolve(came);
    };
    socket.onclose = ({code}) => reject(new Error(`closed with ${code}`));
  });
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
  return socket.extensions;
}"""


@pytest.fixture
def page(context: BrowserContext) -> Any:
    return context.new_page()


@pytest.mark.parametrize("deflate", [True, False])
def test_raw_both_ways(deflate: bool, page: Any) -> None:
    long = "été ☃ " * 50_000
    with Server(*(["--deflate"] if deflate else [])) as server:
        page.goto(f"{server.url}/static/notifier.js")
        url = f"{server.url}/raw/a".replace("http", "ws")
        extensions = page.evaluate(CONNECT, [url, 5])
        assert extensions.startswith("permessage-deflate") is deflate
        came = page.evaluate(
            """long => {
              socket.send("");
              socket.send("short");
              socket.send(long);
              socket.send(new Uint8Array(3000).fill(7));
              socket.send(new Uint8Array(0));
              return came;
            }""",
            long,
        )
        assert came == ["", "short", long, [7] * 3000, []]


def test_the_page_gets_compressed_notifications(page: Any) -> None:
    with Server("--deflate") as server:
        page.goto(f"{server.url}/static/notifier.js")
        url = f"{server.url}/ws?channel=a".replace("http", "ws")
        extensions = page.evaluate(CONNECT, [url, 5])
        assert extensions.startswith("permessage-deflate; ")
        messages = ["short", "all of it " * 10_000, "é☃" * 1000]
        page.wait_for_function("() => socket.readyState === 1")
        for message in messages:
            server.notify("a", message=message)
        came = page.evaluate("async () => (await came).map(JSON.parse)")
        assert [message["type"] for message in came[:2]] == ["welcome", "subscribed"]
        assert [message["message"] for message in came[2:]] == messages
