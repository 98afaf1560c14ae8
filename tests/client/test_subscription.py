"""Following channels, against a real server, through everything a network does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
import tornado.web
import tornado.websocket
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

import notifier.client
from notifier.client import (
    BadAnswer,
    Change,
    Client,
    Dismissed,
    Gap,
    Notification,
    Subscription,
    Unreachable,
)
from notifier.errors import (
    BadChannel,
    BadJSON,
    BadSince,
    NotifierError,
    TooManySubscriptions,
)
from notifier.server import Server
from tests.faults import FaultProxy
from tests.handlers.serving import PATIENCE, serving, until


async def take(subscription: Subscription[Any], count: int) -> list[Any]:
    async with asyncio.timeout(2 * PATIENCE):
        return [await anext(subscription) for _ in range(count)]


async def opened(subscription_changes: list[Change]) -> None:
    await until(lambda: any(change.state == "open" for change in subscription_changes))


def messages(items: list[Any]) -> list[str]:
    return [item.message for item in items]


@asynccontextmanager
async def iterating(subscription: Subscription[Any]) -> AsyncIterator[list[Any]]:
    """What the subscription yields, while this goes on."""
    items: list[Any] = []

    async def iterate() -> None:
        async for item in subscription:
            items.append(item)

    task = asyncio.create_task(iterate())
    try:
        yield items
    finally:
        await subscription.aclose()
        await task


async def test_notification_arrives_with_all_its_fields(client: Client) -> None:
    await client.publish(
        "alerts",
        "Disk full",
        title="db1",
        priority="high",
        tags="disk,db",
        click="https://example.org",
        icon="/icon.png",
        actions=[{"action": "view", "label": "Look", "url": "/look"}],
        data={"free": [0]},
        key="db1",
        expires="1h",
        content=b"\x00\xff",
        content_type="image/png",
        id="i1",
    )
    (n,) = await take(client.subscribe("alerts", since="all"), 1)
    assert (n.channel, n.offset, n.id) == ("alerts", 1, "i1")
    assert n.position.endswith(":1")
    assert (n.title, n.message, n.priority, n.tags) == ("db1", "Disk full", 4, ("disk", "db"))
    assert (n.click, n.icon, n.key) == ("https://example.org", "/icon.png", "db1")
    assert n.actions == ({"action": "view", "label": "Look", "url": "/look"},)
    assert (n.data, n.content, n.content_type) == ({"free": [0]}, b"\x00\xff", "image/png")
    assert (n.expires - n.time).total_seconds() == 3600
    assert n.raw["type"] == "notification"


async def test_fields_that_were_not_given_are_none(client: Client) -> None:
    await client.publish("alerts", "m")
    (n,) = await take(client.subscribe("alerts", since="all"), 1)
    absent = (n.title, n.click, n.icon, n.data, n.key, n.expires, n.content, n.content_type)
    assert absent == (None,) * 8
    assert (n.priority, n.tags, n.actions) == (3, (), ())
    assert repr(n).startswith("<Notification alerts ") and repr(n).endswith(":1 'm'>")


async def test_live_notifications_of_several_channels_come_in_order(client: Client) -> None:
    changes: list[Change] = []
    async with iterating(client.subscribe("a", "b", on_change=changes.append)) as items:
        await opened(changes)
        for number in range(20):
            await client.publish("ab"[number % 2], str(number))
        await until(lambda: len(items) == 20)
    for channel in "ab":
        own = [int(n.message) for n in items if n.channel == channel]
        assert own == sorted(own) and len(own) == 10


async def test_position_is_that_of_the_finished(client: Client) -> None:
    for number in range(3):
        await client.publish("alerts", str(number))
    async with client.subscribe("alerts", since="all") as subscription:
        assert (subscription.position, subscription.token) == (None, None)
        first, second = await take(subscription, 2)
        assert subscription.position == first.position
        since = subscription.position
    # It died over the second, so that one comes again.
    async with client.subscribe("alerts", since=since) as subscription:
        again, third = await take(subscription, 2)
        assert again.position == second.position
        subscription.finish()
        assert subscription.position == third.position


@pytest.mark.parametrize("channels", [("a",), ("a", "b")])
async def test_token_resumes_all_channels(client: Client, channels: tuple[str, ...]) -> None:
    for number in range(3):
        for channel in channels:
            await client.publish(channel, str(number))
    async with client.subscribe(*channels, since="all") as subscription:
        seen = await take(subscription, len(channels) + 1)
        subscription.finish()
        token = subscription.token
    assert token is not None
    async with client.subscribe(*channels, since=token) as subscription:
        seen += await take(subscription, 3 * len(channels) - len(seen))
    for channel in channels:
        assert messages([n for n in seen if n.channel == channel]) == ["0", "1", "2"]


@pytest.mark.parametrize("by_pattern", [True, False])
async def test_token_over_what_the_server_takes_loses_nothing(
    client: Client, by_pattern: bool
) -> None:
    """The publications are older than what a channel without a place would be delivered from."""
    names = [f"builds:project-alpha-service-{number:03}" for number in range(120)]
    for name in names:
        for number in range(2):
            await client.publish(name, str(number))
    wanted = ["builds:*"] if by_pattern else names
    async with client.subscribe(*wanted, since="all") as subscription:
        seen = await take(subscription, 1)
        subscription.finish()
        token = subscription.token
    assert token is not None and len(token) > 4096
    # As if it had been a while ago.
    places, _, _ = token.rpartition(";t=")
    async with client.subscribe(*wanted, since=f"{places};t=9999999999") as subscription:
        seen += await take(subscription, 2 * len(names) - 1)
    for name in names:
        assert messages([n for n in seen if n.channel == name]) == ["0", "1"]


async def test_position_is_there_before_anything_was_published(client: Client) -> None:
    changes: list[Change] = []
    async with client.subscribe("alerts", on_change=changes.append) as subscription:
        async with iterating(subscription):
            await opened(changes)
        token, position = subscription.token, subscription.position
    assert position is not None and position.endswith(":0")
    await client.publish("alerts", "meanwhile")
    assert messages(await take(client.subscribe("alerts", since=token), 1)) == ["meanwhile"]
    assert messages(await take(client.subscribe("alerts", since=position), 1)) == ["meanwhile"]


@pytest.mark.parametrize("seed", range(3))
async def test_account_is_exact_though_connections_break_at_any_byte(
    client: Client, server: Server, proxy: FaultProxy, seed: int
) -> None:
    rng = random.Random(seed)
    channels, count = ("a", "b", "c"), 600
    proxy.allowances = iter([rng.randrange(400, 30_000) for _ in range(60)])
    subscription = client.subscribe(*channels, since="all")
    async with (
        notifier.client.connect(f"http://127.0.0.1:{server.port}") as producer,
        iterating(subscription) as items,
    ):
        sent: dict[str, list[str]] = {channel: [] for channel in channels}
        for number in range(count):
            channel = rng.choice(channels)
            sent[channel].append(f"{number} " + "x" * rng.randrange(800))
            await producer.publish(channel, sent[channel][-1])
        await until(lambda: len(items) >= count)
    assert proxy.accepted > 5
    assert not any(isinstance(item, Gap) for item in items)
    for channel in channels:
        assert messages([n for n in items if n.channel == channel]) == sent[channel]


async def test_gap_is_yielded_in_its_place(client: Client) -> None:
    for number in range(9):
        last = await client.publish("short:a", str(number))
    assert last.position is not None
    epoch = last.position.partition(":")[0]
    async with client.subscribe("short:a", since=f"{epoch}:1") as subscription:
        gap, *rest = await take(subscription, 6)
        assert gap == Gap("short:a", f"{epoch}:1", f"{epoch}:5")
        assert messages(rest) == ["4", "5", "6", "7", "8"]
        assert gap.raw["type"] == "gap"


async def test_gap_is_told_to_who_asked_for_it(client: Client) -> None:
    for number in range(9):
        last = await client.publish("short:a", str(number))
    gaps: list[Gap] = []
    assert last.position is not None
    since = last.position.replace(":9", ":1")
    subscription = client.subscribe("short:a", since=since, on_gap=gaps.append)
    items: list[Notification] = await take(subscription, 5)
    assert messages(items) == ["4", "5", "6", "7", "8"]
    assert len(gaps) == 1


async def test_gap_while_away_is_told_once(client: Client, proxy: FaultProxy) -> None:
    changes: list[Change] = []
    async with iterating(client.subscribe("short:a", on_change=changes.append)) as items:
        await opened(changes)
        proxy.refuse()
        proxy.cut()
        await until(lambda: changes[-1].state == "waiting")
        proxy.target_port, port = 1, proxy.target_port
        async with notifier.client.connect(f"http://127.0.0.1:{port}") as producer:
            for number in range(9):
                await producer.publish("short:a", str(number))
        proxy.target_port = port
        proxy.accept()
        await until(lambda: len(items) == 6)
        proxy.cut()
        await client.publish("short:a", "9")
        await until(lambda: len(items) == 7)
    gap, *rest = items
    assert isinstance(gap, Gap) and gap.before.endswith(":5")
    assert messages(rest) == ["4", "5", "6", "7", "8", "9"]


async def test_lost_log_is_a_gap_and_goes_on(proxy: FaultProxy, client: Client) -> None:
    changes: list[Change] = []
    await client.publish("alerts", "old")
    async with iterating(
        client.subscribe("alerts", since="all", on_change=changes.append)
    ) as items:
        await until(lambda: len(items) == 1)
        async with serving() as other:
            proxy.target_port = other.port
            proxy.cut()
            await client.publish("alerts", "new")
            await until(lambda: len(items) == 3)
            assert isinstance(items[1], Gap) and items[1].after == items[0].position
            assert items[2].message == "new"


async def test_slow_iteration_slows_the_server_and_loses_nothing(
    client: Client, server: Server
) -> None:
    """What is held here stays bounded; the rest waits at the server."""
    changes: list[Change] = []
    subscription = client.subscribe("alerts", since="all", on_change=changes.append)
    await client.publish("alerts", "first")
    await take(subscription, 1)
    count, size = 3000, 4000
    lines = ({"channel": "alerts", "message": f"{n} " + "x" * size} for n in range(count))
    async with notifier.client.connect(f"http://127.0.0.1:{server.port}") as producer:
        for line in lines:
            await producer.publish(line["channel"], line["message"])
    buffer = subscription._buffer
    assert len(buffer) <= 257
    assert buffer.size <= 1024 * 1024 + size + 1000
    items = await take(subscription, count)
    assert [int(n.message.split()[0]) for n in items] == list(range(count))
    await subscription.aclose()


async def test_reader_that_was_cut_off_for_its_slowness_comes_back_and_loses_nothing(
    proxy: FaultProxy,
) -> None:
    changes: list[Change] = []
    async with (
        serving(stalled_seconds=0.3, feed_bytes=64 * 1024) as server,
        notifier.client.connect(proxy.url, max_delay=0.02) as client,
    ):
        proxy.target_port = server.port
        # More than the kernel's buffers on both sides of the proxy grow to.
        for number in range(200):
            await client.publish("alerts", f"{number} " + "x" * 200_000)
        async with client.subscribe(
            "alerts", since="all", on_change=changes.append
        ) as subscription:
            items = await take(subscription, 1)
            await until(lambda: not server.node.connections)
            items += await take(subscription, 199)
    assert [int(n.message.split()[0]) for n in items] == list(range(200))
    assert "waiting" in [change.state for change in changes]


@pytest.mark.parametrize("channel", ["alerts", "live:alerts"])
async def test_leaving_server_hands_over_without_loss_or_repetition(
    client: Client, server: Server, channel: str
) -> None:
    """Also where there is no history to catch up from."""
    changes: list[Change] = []
    most = 0
    async with iterating(client.subscribe(channel, on_change=changes.append)) as items:
        await opened(changes)
        for number in range(300):
            if number % 100 == 50:
                # One move at a time: a second word while it moves would be none.
                await until(
                    lambda: changes[-1].state == "open" and len(server.node.connections) == 1
                )
                for connection in list(server.node.connections.values()):
                    connection.reconnect(20)
            await client.publish(channel, str(number))
            most = max(most, len(server.node.connections))
        await until(lambda: len(items) >= 300)
        assert [int(n.message) for n in items] == list(range(300))
        states = [change.state for change in changes]
        assert states == ["open", "moving", "open", "moving", "open", "moving", "open"]
        assert most == 2, "the next connection was there before the old one was left"
        await until(lambda: len(server.node.connections) == 1)


async def test_drained_server_is_left_for_the_next(client: Client, proxy: FaultProxy) -> None:
    """A log that is another one over there shows as a gap, as it must."""
    changes: list[Change] = []
    async with serving() as second:
        async with serving(drain_seconds=20) as first:
            proxy.target_port = first.port
            subscription = client.subscribe("alerts", on_change=changes.append)
            async with iterating(subscription) as items:
                await opened(changes)
                proxy.target_port = second.port
                stopping = asyncio.create_task(first.drain())
                await until(lambda: len(second.node.connections) == 1)
                await until(lambda: len(first.node.connections) == 0)
                await client.publish("alerts", "over there")
                await until(lambda: len(items) == 2)
                await stopping
    gap, moved = items
    assert isinstance(gap, Gap) and moved.message == "over there"
    assert [change.state for change in changes] == ["open", "moving", "open"]


async def test_server_that_is_gone_before_its_successor_is_there_is_told(
    client: Client, server: Server, proxy: FaultProxy
) -> None:
    changes: list[Change] = []
    async with iterating(client.subscribe("alerts", on_change=changes.append)) as items:
        await opened(changes)
        proxy.refuse()
        (connection,) = server.node.connections.values()
        connection.reconnect(0)
        await until(lambda: changes[-1].state == "moving" and proxy.accepted > 2)
        connection.dismiss()
        await until(lambda: changes[-1].state == "waiting")
        proxy.accept()
        await until(lambda: changes[-1].state == "open")
        await client.publish("alerts", "m")
        await until(lambda: len(items) == 1)
    assert [change.state for change in changes] == ["open", "moving", "waiting", "open"]


async def test_silent_connection_is_doubted_and_replaced(proxy: FaultProxy) -> None:
    changes: list[Change] = []
    async with (
        serving(ping_interval=0.2) as server,
        notifier.client.connect(proxy.url, max_delay=0.02, timeout=0.5) as client,
    ):
        proxy.target_port = server.port
        async with iterating(client.subscribe("alerts", on_change=changes.append)) as items:
            await opened(changes)
            proxy.stall()
            await until(lambda: changes[-1].state == "waiting")
            assert "did not answer" in changes[-1].reason
            proxy.cut()
            proxy.flow()
            await until(lambda: changes[-1].state == "open")
            await client.publish("alerts", "back")
            await until(lambda: len(items) == 1)


async def test_quiet_connection_that_answers_is_kept(proxy: FaultProxy) -> None:
    async with (
        serving(ping_interval=0.1) as server,
        notifier.client.connect(proxy.url, timeout=2) as client,
    ):
        proxy.target_port = server.port
        changes: list[Change] = []
        async with iterating(client.subscribe("alerts", on_change=changes.append)):
            await opened(changes)
            await asyncio.sleep(3)  # longer than without an answer
            assert [change.state for change in changes] == ["open"]


@pytest.mark.parametrize(
    ("channels", "since", "refusal"),
    [
        (("a b",), None, BadChannel),
        (("a",), "yesterday", BadSince),
        (tuple(f"c{n}" for n in range(129)), None, TooManySubscriptions),
    ],
)
async def test_permanent_refusal_is_raised_as_what_it_is(
    client: Client, channels: tuple[str, ...], since: str | None, refusal: type[Exception]
) -> None:
    subscription = client.subscribe(*channels, since=since)
    for _ in range(2):  # and stays
        with pytest.raises(refusal):
            await anext(subscription)


async def test_full_server_is_asked_again(proxy: FaultProxy) -> None:
    changes: list[Change] = []
    async with (
        serving(max_connections=1) as server,
        notifier.client.connect(proxy.url, max_delay=0.02) as client,
    ):
        proxy.target_port = server.port
        first = client.subscribe("alerts", on_change=changes.append)
        async with iterating(first):
            await opened(changes)
            others: list[Change] = []
            async with iterating(client.subscribe("alerts", on_change=others.append)):
                await until(lambda: bool(others))
                assert others[0].state == "waiting"
                await first.aclose()
                await opened(others)


async def test_unreachable_server_is_tried_again_or_raised(
    client: Client, proxy: FaultProxy
) -> None:
    proxy.refuse()
    with pytest.raises(Unreachable, match="cannot reach http://127"):
        await anext(client.subscribe("alerts", reconnect=False))
    changes: list[Change] = []
    async with iterating(client.subscribe("alerts", on_change=changes.append)):
        await until(lambda: len(changes) > 2)
        proxy.accept()
        await opened(changes)


async def test_lost_connection_is_raised_to_who_does_not_come_back(
    client: Client, proxy: FaultProxy
) -> None:
    await client.publish("alerts", "m")
    subscription = client.subscribe("alerts", since="all", reconnect=False)
    await take(subscription, 1)
    proxy.cut()
    with pytest.raises(Unreachable, match="the connection was lost"):
        await anext(subscription)


@asynccontextmanager
async def another_server(handler: type[tornado.web.RequestHandler]) -> AsyncIterator[Client]:
    """A client of a server of these handlers."""
    listener, port = bind_unused_port()
    server = HTTPServer(tornado.web.Application([(r"/.*", handler)]))
    server.add_socket(listener)
    try:
        url = f"ws://127.0.0.1:{port}/some/path/ws"
        async with notifier.client.connect(url, max_delay=0.02, timeout=1) as client:
            yield client
    finally:
        server.stop()
        await server.close_all_connections()


async def test_many_channels_are_followed_where_commands_are_limited() -> None:
    """The server has not looked at some of what is asked of it; that is asked again."""
    names = [f"c{number}" for number in range(100)]
    changes: list[Change] = []
    async with (
        serving(max_commands_per_second=20, max_subscriptions=200) as server,
        notifier.client.connect(f"http://127.0.0.1:{server.port}") as client,
        iterating(client.subscribe(*names, on_change=changes.append)) as heard,
    ):
        await opened(changes)
        assert server.node.counts.errors[42905] > 0
        lines = [{"channel": name, "message": "m"} for name in names]
        assert (await client.publish_many(lines)).stored == len(names)
        await until(lambda: len(heard) == len(names))
    assert sorted(item.channel for item in heard) == sorted(names)
    assert [change.state for change in changes] == ["open"]


async def test_dismissal_is_raised_with_its_code() -> None:
    class Dismissing(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            assert self.request.path == "/some/path/ws"
            self.close(4500, "another language")

    async with another_server(Dismissing) as client:
        with pytest.raises(Dismissed, match="another language") as caught:
            await anext(client.subscribe("alerts"))
    assert (caught.value.code, caught.value.reason) == (4500, "another language")


async def test_close_that_means_come_back_is_come_back_from() -> None:
    times = 0

    class Leaving(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            nonlocal times
            times += 1
            self.close(4000, "later")

    async with another_server(Leaving) as client, iterating(client.subscribe("alerts")):
        await until(lambda: times >= 3)


_SUBSCRIBED = '{"type":"subscribed","channel":"alerts","position":"E:1","recovered":true}\n'
_ATTACHED = '{"type":"reply","ref":"attached","result":{"time":"2026-11-22T17:24:00.000Z"}}\n'


@pytest.mark.parametrize("after_ms", ['"soon"', "1e999", "null", "-1", "9" * 400])
async def test_slot_that_is_none_is_a_bad_answer(after_ms: str) -> None:
    class Leaving(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            for line in (_SUBSCRIBED, _ATTACHED):
                self.write_message(line)
            self.write_message('{"type":"reconnect","after_ms":' + after_ms + "}")

        def on_message(self, message: str | bytes) -> None:
            pass

    async with another_server(Leaving) as client:
        with pytest.raises(BadAnswer):
            await take(client.subscribe("alerts"), 1)


@pytest.mark.parametrize("span", ['"soon"', "1e999", "NaN", "[]", "-5", "9" * 400])
async def test_span_that_is_none_is_not_waited_for(span: str) -> None:
    times = 0

    class Refusing(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            nonlocal times
            times += 1
            self.write_message('{"type":"error","code":50301,"retry_after":' + span + "}")

        def on_message(self, message: str | bytes) -> None:
            pass

    async with another_server(Refusing) as client, iterating(client.subscribe("alerts")):
        await until(lambda: times >= 3)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("<h1>", BadAnswer),
        ("[]", BadAnswer),
        ("{}", BadAnswer),
        ('{"type":"reply","ref":"attached"}', BadAnswer),
        ("[" * 100_000 + "]" * 100_000, BadAnswer),
        ('{"type":"welcome","ping_interval_ms":' + "9" * 400 + "}", BadAnswer),
        ('{"type":"welcome","ping_interval_ms":NaN}', BadAnswer),
        ('{"type":"error","code":40001,"message":5,"self":1,"docs":2}', BadJSON),
        ('{"type":"error","code":[1],"message":null,"message ":1}', NotifierError),
        (_SUBSCRIBED.replace("}", ',"gap":{"after":5,"before":null}}') + _ATTACHED, BadAnswer),
        (_SUBSCRIBED.replace(":1", ":" + "9" * 5000) + _ATTACHED, BadAnswer),
        ('{"type":"something new"}', Unreachable),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_another_protocol_is_told_from_ours(said: str, error: type[Exception]) -> None:
    class Babbling(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            for line in said.splitlines():
                self.write_message(line)

        def on_message(self, message: str | bytes) -> None:
            pass

    async with another_server(Babbling) as client:
        with pytest.raises(error):
            await anext(client.subscribe("alerts", reconnect=False))


async def test_page_of_something_else_is_a_bad_answer() -> None:
    class Page(tornado.web.RequestHandler):
        def get(self) -> None:
            self.finish("<h1>It works!</h1>")

    async with another_server(Page) as client:
        with pytest.raises(BadAnswer):
            await anext(client.subscribe("alerts"))


async def test_credentials_are_sent_with_the_handshake() -> None:
    heard: list[str] = []

    class Guarded(tornado.websocket.WebSocketHandler):
        def open(self) -> None:
            heard.append(self.request.headers["Authorization"])
            self.close(4500, "heard")

    async with another_server(Guarded) as client:
        client._requests._headers["Authorization"] = "Bearer t"
        with pytest.raises(Dismissed):
            await anext(client.subscribe("alerts"))
    assert heard == ["Bearer t"]


async def test_client_ends_its_subscriptions(server: Server) -> None:
    changes: list[Change] = []
    async with notifier.client.connect(f"http://127.0.0.1:{server.port}") as client:
        subscription = client.subscribe("alerts", on_change=changes.append)
        waiting = asyncio.ensure_future(anext(subscription, None))
        await opened(changes)
    assert await waiting is None
    assert await anext(subscription, "ended") == "ended"
    await until(lambda: not server.node.connections)


async def test_cancelled_iteration_goes_on_where_it_was(client: Client) -> None:
    async with client.subscribe("alerts", since="all") as subscription:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(subscription)
        await client.publish("alerts", "m")
        assert messages(await take(subscription, 1)) == ["m"]


async def test_iteration_that_is_left_can_be_closed(client: Client, server: Server) -> None:
    await client.publish("alerts", "m")
    async with aclosing(client.subscribe("alerts", since="all")) as subscription:
        async for _ in subscription:
            break
    await until(lambda: not server.node.connections)


async def test_subscribing_to_nothing_is_a_mistake(client: Client) -> None:
    with pytest.raises(TypeError):
        client.subscribe()
