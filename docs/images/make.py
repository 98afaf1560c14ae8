"""Draws docs/images/page.png: the page with a day's notifications, as the README shows it.

Needs a local server with empty channels, Chromium, and Playwright (`pip install playwright`):

    notifier serve --port 8889 &
    python docs/images/make.py http://127.0.0.1:8889
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, WebSocketRoute, sync_playwright

TARGET = Path(__file__).with_name("page.png")
CHANNELS = ("alerts", "builds", "backups")

# What is shown, oldest first, and how many minutes ago it is said to have come.
NOTIFICATIONS: list[tuple[int, dict[str, Any]]] = [
    (
        122,
        {
            "channel": "backups",
            "title": "Nightly backup finished",
            "message": "412 GiB in 1 h 52 min, verified.",
            "priority": 2,
            "tags": ["db1", "full"],
        },
    ),
    (
        48,
        {
            "channel": "builds",
            "title": "main #4812 passed",
            "message": "1,204 tests in 3 min 8 s",
            "tags": ["ci"],
            "click": "https://ci.example/4812",
        },
    ),
    (31, {"channel": "alerts", "message": "edge-2 is reachable again after 40 seconds"}),
    (
        19,
        {
            "channel": "builds",
            "title": "Deploy web 42 to production",
            "message": "2 of 12 hosts",
            "key": "deploy",
        },
    ),
    (
        17,
        {
            "channel": "builds",
            "title": "Deploy web 42 to production",
            "message": "9 of 12 hosts",
            "key": "deploy",
        },
    ),
    (
        14,
        {
            "channel": "builds",
            "title": "Deploy web 42 to production",
            "message": "Done: 12 of 12 hosts are healthy",
            "tags": ["web"],
            "key": "deploy",
        },
    ),
    (
        6,
        {
            "channel": "alerts",
            "title": "The certificate of api.example.org expires in 9 days",
            "priority": 4,
            "tags": ["tls"],
            "click": "https://api.example.org",
            "data": {"host": "api.example.org", "days": 9, "issuer": "R11"},
        },
    ),
    (
        0,
        {
            "channel": "alerts",
            "title": "Disk full on db1",
            "message": "/var/lib/postgresql: 800 of 800 GB used. Writes are failing.",
            "priority": 5,
            "tags": ["disk", "db1"],
            "actions": [
                {"action": "view", "label": "Open runbook", "url": "https://wiki.example/disk"},
                {"action": "view", "label": "Graphs", "url": "https://graphs.example/db1"},
            ],
        },
    ),
]


def main(url: str) -> None:
    """Publishes the notifications to the server at `url` and takes the picture."""
    ages = {publish(url, fields): minutes for minutes, fields in NOTIFICATIONS}
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 860}, device_scale_factor=1.4, color_scheme="light"
        )
        backdate(page, ages)
        page.goto(f"{url}/?" + "&".join(f"channel={name}" for name in CHANNELS))
        page.get_by_role("heading", name="Disk full on db1").wait_for()
        page.locator(".card").nth(5).wait_for()
        page.screenshot(path=TARGET, animations="disabled")
        browser.close()


def publish(url: str, fields: dict[str, Any]) -> str:
    """Returns the id the server gave it."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/notify", json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(json.load(response)["id"])


def backdate(page: Page, ages: dict[str, int]) -> None:
    """Makes what was published a moment ago look as if it had come over two hours."""
    now = datetime.now(UTC)

    def relay(client: WebSocketRoute) -> None:
        server = client.connect_to_server()

        def forward(frame: str | bytes) -> None:
            message = json.loads(frame)
            if message.get("id") in ages:
                time = now - timedelta(minutes=ages[message["id"]], seconds=21)
                message["time"] = time.isoformat(timespec="milliseconds")
            client.send(json.dumps(message))

        server.on_message(forward)

    page.route_web_socket("**/ws", relay)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:8888")
