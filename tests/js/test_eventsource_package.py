"""npm's `eventsource`, as programs on Node use it, against the real server and a bad network."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.serving import Server
from tests.faults import FaultProxy
from tests.js.following import Follower


def publish(server: Server, channels: tuple[str, ...], *, times: int) -> None:
    for _ in range(times):
        server.notify_all([{"channel": channel, "message": "x"} for channel in channels])


def test_one_channel_is_resumed_by_itself(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    follower = follow("follow_events.js", f"{proxy.url}/events?channel=alerts")
    follower.until("subscribed", channel="alerts")
    for offset in (30, 60, 90):
        publish(server, ("alerts",), times=15)
        proxy.cut()
        publish(server, ("alerts",), times=15)
        follower.until("message", channel="alerts", offset=offset)
    assert follower.offsets("alerts") == list(range(1, 91))
    assert all(item["recovered"] for name, item in follower.seen if name == "subscribed")
    assert follower.kinds() == {"subscribed", "message", "error"}  # an error for each cut


def test_several_channels_and_a_pattern_are_resumed_by_themselves(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    url = f"{proxy.url}/events?channel=alerts&channel=größe&channel=builds:*"
    follower = follow("follow_events.js", url)
    follower.until("subscribed", channel="builds:*")
    channels: tuple[str, ...] = ("alerts", "größe")
    for offset in (30, 60, 90):
        channels += (f"builds:{offset}",)  # one more is born each time, on either side of a cut
        publish(server, channels, times=15)
        proxy.cut()
        publish(server, channels, times=15)
        follower.until("message", channel="alerts", offset=offset)
        follower.until("message", channel=f"builds:{offset}", offset=30)
    for channel, count in (("größe", 90), ("builds:30", 90), ("builds:60", 60), ("builds:90", 30)):
        follower.until("message", channel=channel, offset=count)
    assert follower.offsets("alerts") == list(range(1, 91))
    assert follower.offsets("größe") == list(range(1, 91))
    assert follower.offsets("builds:30") == list(range(1, 91))
    assert follower.offsets("builds:60") == list(range(1, 61))
    assert follower.offsets("builds:90") == list(range(1, 31))


def test_gap_is_told_after_history_was_trimmed(follow: Callable[..., Follower]) -> None:
    with Server("--history-size", "5") as server, FaultProxy(server.port) as proxy:
        follower = follow("follow_events.js", f"{proxy.url}/events?channel=alerts")
        follower.until("subscribed", channel="alerts")
        publish(server, ("alerts",), times=1)
        follower.until("message", offset=1)
        proxy.refuse()
        proxy.cut()
        publish(server, ("alerts",), times=20)
        proxy.accept()
        follower.until("subscribed", recovered=False)
        follower.until("message", offset=21)
        assert follower.offsets("alerts") == [1, 17, 18, 19, 20, 21]


def test_notifier_js_loses_and_repeats_nothing_over_it(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    follower = follow("follow_notifier.js", proxy.url, "alerts", "builds:*", "builds:1")
    for name in ("alerts", "builds:1", "builds:*"):
        follower.until("subscribed", channel=name)
    for offset in (30, 60, 90):
        publish(server, ("alerts", "builds:1", "builds:2"), times=15)
        proxy.cut()
        publish(server, ("alerts", "builds:1", "builds:2"), times=15)
        for channel in ("alerts", "builds:1", "builds:2"):
            follower.until("message", channel=channel, offset=offset)
    for channel in ("alerts", "builds:1", "builds:2"):
        assert follower.offsets(channel) == list(range(1, 91))
    assert follower.kinds() == {"subscribed", "message"}
