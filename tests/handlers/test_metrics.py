"""``/metrics``: each number moves by exactly what happened."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from handlers.socket import Socket
from notifier.errors import BrokerUnavailable
from notifier.notification import Gap, Position
from notifier.server import Server
from notifier.wire.websocket import frame
from tests.frames import CLOSE, TEXT, client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    RawSocket,
    Wire,
    head,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; q=0.9, text/plain; q=0.5"


class Numbers:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in read_text(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one series; 0 of one that is not there yet."""
        return self._values.get((f"notifier_{name}", frozenset(labels.items())), 0)

    def moved(self, name: str) -> dict[tuple[str, ...], float]:
        """What is not 0, by the values of the labels in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(labels)): count
            for (known, labels), count in self._values.items()
            if known == f"notifier_{name}" and count
        }


async def scrape(server: Server) -> Numbers:
    answer = await request(server.port, "GET", "/metrics")
    assert answer.status == 200
    return Numbers(answer.body.decode())


async def reaches(server: Server, value: float, name: str, **labels: str) -> Numbers:
    """Scrape until the series has the value."""
    async with asyncio.timeout(PATIENCE):
        while (numbers := await scrape(server))(name, **labels) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return numbers


async def publish(server: Server, *messages: str, channel: str = "a") -> None:
    for message in messages:
        answer = await request(server.port, "POST", f"/notify/{channel}", body=message.encode())
        assert answer.status == 200


async def publish_all(server: Server, items: list[dict[str, Any]]) -> None:
    answer = await request(server.port, "POST", "/notify", body=json.dumps(items).encode())
    assert answer.status == 200


@asynccontextmanager
async def stream_of(port: int, path: str) -> AsyncIterator[Wire]:
    """An event stream whose head has been read."""
    async with wire_to(port) as wire:
        await wire.send(head("GET", path))
        async with asyncio.timeout(PATIENCE):
            assert b"200" in await wire.reader.readuntil(b"\r\n\r\n")
        yield wire


async def bytes_with(wire: Wire, count: int, mark: bytes) -> int:
    """Read until so many chunks have had the mark; the bytes of all on the wire."""
    size = 0
    while count:
        async with asyncio.timeout(PATIENCE):
            line = await wire.reader.readuntil(b"\r\n")
            chunk = await wire.reader.readexactly(int(line, 16) + 2)
        size += len(line) + len(chunk)
        count -= mark in chunk
    return size


async def frames_with(raw: RawSocket, count: int, mark: bytes) -> int:
    """Read so many messages that have the mark; their bytes on the wire."""
    size = 0
    while count:
        opcode, payload = await raw.frame()
        if mark in payload:
            size += len(frame(payload, opcode))
            count -= 1
    return size


# --- how it is told ---


async def test_the_text_format_is_the_default(server: Server) -> None:
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "text/plain"}):
        answer = await request(server.port, "GET", "/metrics", headers=accept)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Accept"
        families = {family.name for family in read_text(answer.body.decode())}
        assert {"notifier_connections", "python_info", "notifier_publish_seconds"} <= families


async def test_openmetrics_is_told_to_who_asks_for_it(server: Server) -> None:
    await publish(server, "x")
    answer = await request(server.port, "GET", "/metrics", headers={"Accept": OPEN_METRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0;")
    families = {family.name: family for family in read_open_metrics(answer.body.decode())}
    assert families["notifier_publications"].type == "counter"
    assert families["notifier_pass_receivers"].type == "histogram"


async def test_an_accept_that_makes_no_sense_is_answered_nevertheless(server: Server) -> None:
    for accept in ("application/openmetrics-text; version=x", ";=,;", "text/plain; version=1.x"):
        answer = await request(server.port, "GET", "/metrics", headers={"Accept": accept})
        assert answer.status == 200 and b"notifier_connections" in answer.body


async def test_head_has_the_headers_alone(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("HEAD", "/metrics"))
        answer = await wire.answer("HEAD")
        assert answer.status == 200 and int(answer.headers["content-length"]) > 1000
        await wire.send(head("GET", "/health/live"))
        assert (await wire.answer()).json == {"status": "ok"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 42101),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 40301),
    ],
)
async def test_strangers_are_refused(server: Server, headers: dict[str, str], code: int) -> None:
    assert (await request(server.port, "GET", "/metrics", headers=headers)).code == code


async def test_the_process_is_told_of(server: Server) -> None:
    answer = await request(server.port, "GET", "/metrics")
    samples = {s.name: s.value for f in read_text(answer.body.decode()) for s in f.samples}
    assert samples["process_open_fds"] > 3
    assert samples["process_cpu_seconds_total"] > 0
    assert samples["notifier_connections_limit"] == server.settings.max_connections


async def test_each_server_counts_for_itself(server: Server) -> None:
    await publish(server, "x")
    async with serving() as other:
        assert (await scrape(other)).moved("publications_total") == {}
    assert (await scrape(server))("publications_total", source="http") == 1


# --- deliveries ---


async def test_deliveries_and_their_bytes_are_counted_exactly_on_every_transport(
    server: Server,
) -> None:
    messages = [f"mark {n} " + "x" * 37 * n for n in range(6)]
    await publish(server, "there was one before")
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(raw_socket(server.port, "/ws?channel=a"))
            for _ in range(3)
        ]
        raws = [
            await stack.enter_async_context(raw_socket(server.port, path))
            for path in ("/raw/a", "/raw/a?echo=0")
        ]
        events = [
            await stack.enter_async_context(stream_of(server.port, path))
            for path in ("/events?channel=a", "/events?channel=a&channel=b", "/events?channel=*")
        ]
        lines = await stack.enter_async_context(stream_of(server.port, "/stream?channel=a"))
        await reaches(server, 10, "subscriptions", standing="live")
        await publish(server, "first")
        for stream in (*events, lines):
            await bytes_with(stream, 1, b"first")  # and what came before it
        before = await scrape(server)
        await publish(server, *messages)
        received = {
            "websocket": sum([await frames_with(s, 6, b"mark") for s in sockets]),
            "raw": sum([await frames_with(s, 6, b"mark") for s in raws]),
            "events": sum([await bytes_with(s, 6, b"mark") for s in events]),
            "stream": await bytes_with(lines, 6, b"mark"),
        }
        numbers = await scrape(server)
        sent = {"websocket": 18, "raw": 12, "events": 18, "stream": 6}
        for transport, count in sent.items():
            labels = {"transport": transport}
            assert (
                numbers("deliveries_total", **labels) - before("deliveries_total", **labels)
                == count
            )
            assert (
                numbers("delivered_bytes_total", **labels)
                - before("delivered_bytes_total", **labels)
                == received[transport]
            )
        # One flush for each, as each was answered before the next was sent.
        assert numbers("pass_receivers_count") == 7
        assert numbers("pass_receivers_sum") == 7 * 9
        assert numbers.moved("gaps_total") == {}
        assert numbers("subscriptions_fell_behind_total") == 0


async def test_who_leaves_out_its_own_is_not_counted_for_it(server: Server) -> None:
    async with (
        raw_socket(server.port, "/raw/a?echo=0") as own,
        raw_socket(server.port, "/raw/a") as other,
    ):
        await reaches(server, 2, "subscriptions", standing="live")
        await own.send(client_frame(b"mark"))
        size = await frames_with(other, 1, b"mark")
        numbers = await scrape(server)
        assert numbers.moved("deliveries_total") == {("raw",): 1}
        assert numbers("delivered_bytes_total", transport="raw") == size
        assert numbers("publications_total", source="raw") == 1
        assert numbers("publish_seconds_count", source="raw") == 1


async def test_what_is_replayed_is_delivered(server: Server) -> None:
    await publish(server, "mark 1", "mark 2", "mark 3")
    async with raw_socket(server.port, "/ws?channel=a&since=-2") as socket:
        size = await frames_with(socket, 2, b"mark")
        numbers = await scrape(server)
        assert numbers.moved("deliveries_total") == {("websocket",): 2}
        assert numbers("delivered_bytes_total", transport="websocket") == size
        assert numbers("history_reads_total", reader="subscription") == 1
        assert numbers("pass_receivers_count") == 0


@asynccontextmanager
async def stuck(server: Server, path: str) -> AsyncIterator[RawSocket]:
    """The first WebSocket to a server; it reads nothing yet, and the kernel holds little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    raw = RawSocket(reader, writer)
    try:
        assert (await raw.upgrade(path)).status == 101
        await until(lambda: len(server.node.connections) == 1)
        (here,) = server.node.connections.values()
        assert isinstance(here, Socket) and here.ws_connection is not None
        assert here.ws_connection.stream is not None
        here.ws_connection.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield raw
    finally:
        raw.reset()


async def test_a_slow_reader_is_counted_as_catching_up_until_it_has(server: Server) -> None:
    messages = [f"mark {n} " + "x" * 50_000 for n in range(160)]
    async with (
        stuck(server, "/ws?channel=a") as slow,
        raw_socket(server.port, "/ws?channel=a") as fast,
    ):
        await reaches(server, 2, "subscriptions", standing="live")
        reading = asyncio.create_task(frames_with(fast, len(messages), b"mark"))
        await publish(server, *messages)
        size = await reading
        numbers = await reaches(server, 1, "connections_blocked")
        assert numbers("subscriptions", standing="live") == 1
        assert numbers("subscriptions", standing="catching_up") == 1
        assert numbers("subscriptions_fell_behind_total") == 1
        held = numbers("feeds_bytes")
        assert 0 < held <= server.settings.feed_bytes
        assert await frames_with(slow, len(messages), b"mark") == size
        numbers = await reaches(server, 2, "subscriptions", standing="live")
        assert numbers("connections_blocked") == 0
        assert numbers("subscriptions", standing="catching_up") == 0
        assert numbers("deliveries_total", transport="websocket") == 2 * len(messages)
        assert numbers("delivered_bytes_total", transport="websocket") == 2 * size
        assert numbers("history_reads_total", reader="subscription") >= 1
        assert numbers.moved("gaps_total") == {}


# --- gaps ---


async def test_a_gap_at_the_start_is_counted() -> None:
    async with serving(history_size=2) as server:
        await publish(server, *"12345")
        async with raw_socket(server.port, "/ws?channel=a&since=nobody:1") as socket:
            assert (await socket.message())["gap"]
        async with raw_socket(server.port, "/raw/a?since=nobody:1") as raw:
            assert (await raw.closed(answer=True))[0] == 4501
        async with stream_of(server.port, "/stream?channel=a&since=-2") as lines:
            await bytes_with(lines, 2, b"notification")
        numbers = await reaches(server, 0, "connections", transport="stream")
        assert numbers.moved("gaps_total") == {("start", "websocket"): 1, ("start", "raw"): 1}
        assert numbers("connections_closed_total", transport="raw", reason="4501") == 1


async def test_a_gap_of_a_reader_that_was_too_slow_is_counted() -> None:
    async with serving(history_size=2, feed_size=2) as server:
        async with stuck(server, "/ws?channel=a") as slow:
            await reaches(server, 1, "subscriptions", standing="live")
            await publish(server, *(f"{n} " + "x" * 50_000 for n in range(200)))
            gaps = notifications = 0
            last = ""
            while not last.startswith("199 "):
                message = await slow.message()
                gaps += message["type"] == "gap"
                notifications += message["type"] == "notification"
                last = message.get("message", "")
            assert gaps
            numbers = await reaches(server, 1, "subscriptions", standing="live")
            assert numbers.moved("gaps_total") == {("slow", "websocket"): gaps}
            assert numbers("deliveries_total", transport="websocket") == notifications


async def test_the_loss_of_a_log_is_counted_for_everyone_who_is_told(server: Server) -> None:
    async with (
        raw_socket(server.port, "/ws?channel=a") as first,
        raw_socket(server.port, "/ws?channel=a") as second,
        stream_of(server.port, "/events?channel=a") as events,
        raw_socket(server.port, "/raw/a") as raw,
    ):
        await reaches(server, 4, "subscriptions", standing="live")
        feed = server.node._hub.feeds["a"]
        assert feed.tail.head is not None
        feed.gap(Gap("a", after=feed.tail.head, before=Position("other", 1)))
        for each in (first, second):
            assert (await each.message())["type"] == "subscribed"
            assert (await each.message())["type"] == "gap"
        await bytes_with(events, 1, b"event: gap")
        assert (await raw.closed(answer=True))[0] == 4001
        numbers = await reaches(server, 0, "connections", transport="raw")
        assert numbers.moved("gaps_total") == {
            ("log_lost", "websocket"): 2,
            ("log_lost", "events"): 1,
            ("log_lost", "raw"): 1,
        }
        assert numbers.moved("deliveries_total") == {}
        assert numbers("connections_closed_total", transport="raw", reason="4001") == 1


# --- connections and subscriptions ---


async def test_connections_and_subscriptions_are_counted_while_they_last(server: Server) -> None:
    await publish(server, "x", channel="a:1")
    await publish(server, "x", channel="a:2")
    async with (
        raw_socket(server.port, "/ws?channel=a:*&channel=b") as socket,
        raw_socket(server.port, "/echo"),
        stream_of(server.port, "/events?channel=b"),
    ):
        numbers = await reaches(server, 4, "subscriptions", standing="live")
        assert numbers("patterns") == 1
        assert numbers("channels") == 3
        assert numbers.moved("connections") == {("websocket",): 1, ("echo",): 1, ("events",): 1}
        await socket.say({"type": "unsubscribe", "channel": "a:*"})
        numbers = await reaches(server, 2, "subscriptions", standing="live")
        assert (numbers("patterns"), numbers("channels")) == (0, 1)
    numbers = await reaches(server, 0, "subscriptions", standing="live")
    assert numbers("subscriptions", standing="catching_up") == 0
    assert numbers("channels") == 0
    assert numbers.moved("connections") == {}
    opened = {("websocket",): 1, ("echo",): 1, ("events",): 1}
    assert numbers.moved("connections_opened_total") == opened


async def test_it_is_told_why_connections_end() -> None:
    async with serving(ping_interval=0.5, ping_timeout=1.5) as server:
        async with raw_socket(server.port) as socket:
            await socket.send(client_frame((3999).to_bytes(2), CLOSE))  # a client's own code
            await socket.closed()
        async with raw_socket(server.port, "/echo") as socket:
            socket.reset()
            await reaches(server, 1, "connections_closed_total", transport="echo", reason="lost")
        async with raw_socket(server.port) as socket:
            await socket.send(client_frame(b"x", masked=False))
            await socket.closed()
        async with raw_socket(server.port) as socket:
            await socket.send(client_frame(b"\xff", TEXT))
            await socket.closed()
        async with stream_of(server.port, "/stream?channel=a") as stream:
            await bytes_with(stream, 1, b"subscribed")
        async with raw_socket(server.port, "/raw/a"):
            await reaches(server, 1, "connections_closed_total", transport="raw", reason="silent")
        await until(lambda: not server.node.connections)
        numbers = await scrape(server)
        assert numbers.moved("connections_closed_total") == {
            ("client", "websocket"): 1,
            ("lost", "echo"): 1,
            ("1002", "websocket"): 1,
            ("1007", "websocket"): 1,
            ("client", "stream"): 1,
            ("silent", "raw"): 1,
        }


async def test_who_reads_nothing_is_counted_as_stalled() -> None:
    async with serving(stalled_seconds=0.3) as server:
        async with stuck(server, "/ws?channel=a"):
            await reaches(server, 1, "subscriptions", standing="live")
            await publish(server, *["x" * 500_000] * 20)
            numbers = await reaches(
                server, 1, "connections_closed_total", transport="websocket", reason="stalled"
            )
            assert numbers("connections_blocked") == 0
            assert numbers("subscriptions", standing="catching_up") == 0


async def test_who_leaves_replies_unread_is_counted() -> None:
    many = {"max_subscriptions": 1000, "max_body_bytes": 1 << 23}
    async with serving(max_pending_bytes=1000, **many) as server:
        async with stuck(server, "/ws?channel=a&channel=b:*"):
            await reaches(server, 1, "patterns")
            await publish_all(server, [{"channel": "a", "message": "x" * 10_000}] * 100)
            await reaches(server, 1, "connections_blocked")
            # It is told of each channel that is born, behind what waits already.
            await publish_all(server, [{"channel": f"b:{n}", "title": "x"} for n in range(500)])
            numbers = await reaches(
                server, 1, "connections_closed_total", transport="websocket", reason="unread"
            )
            assert numbers("connections_blocked") == 0


async def test_a_drain_is_counted_on_every_transport() -> None:
    async with serving(drain_seconds=0.2) as server:
        async with (
            raw_socket(server.port, "/ws?channel=a") as socket,
            raw_socket(server.port, "/raw/a") as raw,
            stream_of(server.port, "/events?channel=a") as events,
        ):
            await reaches(server, 3, "subscriptions", standing="live")
            draining = asyncio.create_task(server.drain())
            for each in (socket, raw):
                assert (await each.closed(answer=True))[0] == 4000
            await events.ended()
            events.close()
            await draining
        closed = {name: dict(t.closed) for name, t in server.node.counts.traffic.items()}
        assert [closed[name]["4000"] for name in ("websocket", "raw", "events")] == [1, 1, 1]


# --- publications ---


async def test_publications_are_counted_by_what_became_of_them(server: Server) -> None:
    port = server.port
    items = [
        {"channel": "a", "message": "1"},
        {"channels": ["a", "b", "c"], "message": "3"},
        {"channel": "a", "mesage": "4"},
        {"channel": "a b", "message": "5"},
    ]
    assert (await request(port, "POST", "/notify", body=json.dumps(items).encode())).status == 207
    for _ in range(3):
        await request(port, "POST", "/notify/a?id=7", body=b"same")
    assert (await request(port, "POST", "/notify/a?id=7", body=b"other")).code == 40901
    assert (await request(port, "POST", "/notify", body=b"{")).code == 40001
    async with raw_socket(port) as socket:
        reply = await socket.ask({"type": "publish", "channel": "a", "message": "x"})
        assert reply["type"] == "reply"
        assert (await socket.ask({"type": "publish", "channel": "a"}))["code"] == 40003
        assert (await socket.ask({"type": "nonsense"}))["code"] == 40009
    async with raw_socket(port, "/raw/a:*") as raw:
        await raw.send(client_frame(b"x"))
        assert (await raw.closed(answer=True))[0] == 4500
    numbers = await scrape(server)
    assert numbers.moved("publications_total") == {("http",): 5, ("websocket",): 1}
    assert numbers.moved("publications_repeated_total") == {("http",): 2}
    assert numbers.moved("publications_refused_total") == {
        ("40002", "http"): 1,
        ("40004", "http"): 1,
        ("40901", "http"): 1,
        ("40003", "websocket"): 1,
        ("40004", "raw"): 1,
    }
    assert numbers.moved("errors_total") == {
        ("40901",): 1,
        ("40001",): 1,
        ("40003",): 1,
        ("40009",): 1,
    }
    # Each notification that came to the broker, once.
    assert numbers("publish_seconds_count", source="http") == 2 + 4
    assert numbers("publish_seconds_count", source="websocket") == 1
    assert numbers("publish_seconds_bucket", source="http", le="+Inf") == 6
    assert numbers("publish_seconds_sum", source="http") > 0


async def test_lines_are_counted_by_what_became_of_them(server: Server) -> None:
    body = b'{"message": "1"}\n{"message": "2"}\n{"mesage": "3"}\n{\n'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await request(server.port, "POST", "/notify/a", body=body, headers=headers)
    assert (answer.json["stored"], answer.json["failed"]) == (2, 2)
    numbers = await scrape(server)
    assert numbers.moved("publications_total") == {("ndjson",): 2}
    assert numbers.moved("publications_refused_total") == {
        ("40001", "ndjson"): 1,
        ("40002", "ndjson"): 1,
    }
    assert numbers.moved("errors_total") == {}
    assert numbers("publish_seconds_count", source="ndjson") == 2


@pytest.mark.parametrize("query", ["", "?answers=all"])
async def test_a_body_of_lines_that_is_broken_off_is_counted_once(
    server: Server, query: str
) -> None:
    await publish(server, "before")
    lines = b'{"message": "1"}\n' * 5
    headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", f"/notify/a{query}", headers))
        await wire.send(b"%x\r\n%b\r\n" % (len(lines), lines))
        await reaches(server, 5, "publications_total", source="ndjson")
        server.node.broker.publish = away  # type: ignore[method-assign]
        await wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(lines), lines))
        assert b"50301" in (await wire.answer()).body
    numbers = await scrape(server)
    assert numbers("errors_total", code="50301") == 1
    assert numbers("publications_refused_total", source="ndjson", code="50301") == 5


async def away(*_: object) -> Any:
    raise BrokerUnavailable("The broker is away.")


async def test_refusals_are_counted_by_code() -> None:
    async with serving(max_connections=1, max_body_bytes=10) as server:
        port = server.port
        assert (await request(port, "GET", "/nowhere")).status == 404
        assert (await request(port, "PUT", "/health/live")).status == 405
        assert (await request(port, "POST", "/notify/a", body=b"x" * 11)).status == 413
        assert (await request(port, "GET", "/channels/a")).status == 404
        async with raw_socket(port):
            assert (await request(port, "GET", "/ws", headers=HANDSHAKE)).status == 503
            accept = {"Accept": "text/event-stream"}
            answer = await request(port, "GET", "/events?channel=a", headers=accept)
            assert answer.status == 200
        assert (await scrape(server)).moved("errors_total") == {
            ("40401",): 1,
            ("40501",): 1,
            ("41301",): 1,
            ("40402",): 1,
            ("50304",): 2,
        }


async def test_reads_of_history_are_counted(server: Server) -> None:
    await publish(server, "1", "2")
    assert (await request(server.port, "GET", "/channels/a/history")).status == 200
    assert (await request(server.port, "GET", "/stream?channel=a&poll=1")).status == 200
    numbers = await scrape(server)
    assert numbers.moved("history_reads_total") == {("client",): 2}
    assert numbers.moved("connections_opened_total") == {}


# --- the server ---


async def test_trouble_and_draining_are_told(server: Server) -> None:
    numbers = await scrape(server)
    assert (numbers("broker_trouble"), numbers("draining")) == (0, 0)
    server.node.broker.trouble = "away"  # type: ignore[misc]
    assert (await scrape(server))("broker_trouble") == 1
    assert numbers("revocations") == 0
    body = b'{"token_id": "t1", "until": "2100-01-01T00:00:00Z"}'
    await request(server.port, "POST", "/revocations", body=body)
    assert (await scrape(server))("revocations") == 1
    server.node.connections.draining = True
    assert (await scrape(server))("draining") == 1


async def test_the_lag_of_the_loop_is_measured(server: Server) -> None:
    await until(lambda: sum(server.node.counts.loop_lag.counts) >= 2)
    assert (await scrape(server))("loop_lag_seconds_count") >= 2


async def test_no_label_holds_what_a_client_has_sent(server: Server) -> None:
    word = "Zauberwort"
    await publish(server, word, channel=word)
    async with raw_socket(server.port, f"/ws?channel={word}*&channel={word}") as socket:
        await socket.ask({"type": word})
        await socket.send(client_frame((4321).to_bytes(2) + word.encode(), CLOSE))
        await socket.closed()
    await request(server.port, "POST", f"/notify/{word}%20", body=word.encode())
    await request(server.port, "GET", f"/{word}")
    answer: Any = await request(server.port, "GET", "/metrics")
    assert word.encode() not in answer.body
    assert b"4321" not in answer.body


async def test_keys_that_can_not_be_fetched_are_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/jwks.json"
        async with serving(token_jwks_url=url) as server:
            assert not server.node.state().keys_trouble
            header = base64.urlsafe_b64encode(b'{"alg":"ES256"}').decode().rstrip("=")
            shown = {"Authorization": f"Bearer {header}.e30.e30"}
            answer = await request(server.port, "GET", "/channels/a", headers=shown)
            assert answer.code == 50306
            assert server.node.state().keys_trouble
