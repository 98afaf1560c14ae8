"""npm's `ws`, what most programs on Node use, with permessage-deflate."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.serving import Server
from tests.js.following import Follower

LONG = "all of it " * 10_000


def test_both_ways_are_compressed(follow: Callable[..., Follower]) -> None:
    with Server("--deflate") as server:
        url = f"ws://localhost:{server.port}/ws"
        follower = follow("follow_ws.js", f"{url}?channel=alerts")
        follower.until("open", extensions="permessage-deflate")
        follower.until("subscribed", channel="alerts")
        for message in ("short", LONG, "é☃" * 1000):
            server.notify("alerts", message=message)
            follower.until("notification", message=message)
        # It has sent them back, compressed.
        copies = follow("follow_ws.js", f"{url}?channel=copies&since=all")
        for message in ("short", LONG, "é☃" * 1000):
            copies.until("notification", message=message)
        (last,) = [detail for _, detail in follower.seen if detail.get("message") == "é☃" * 1000]
        assert 0 < last["received"] < 10_000
        assert follower.kinds() == {"open", "welcome", "subscribed", "notification", "reply"}
