"""``examples/compose/haproxy.cfg`` as it is, in the real program, before nodes on one Redis."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import notifier.client
from notifier.client import Client, Gap
from notifier.config import Settings
from tests.compose.programs import FILES, PATIENCE, Deployment, connections, deployment, until
from tests.docs.webservers import WebServer

# Both give up, and ping, early.
QUICK = {"IDLE": "2s"}
PINGS = ("--ping-interval", "1s")


@pytest.fixture(scope="module")
def three(
    haproxy: WebServer, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Three nodes that nothing happens to."""
    folder = tmp_path_factory.mktemp("three")
    with deployment(haproxy, folder, "--broker", broker, *PINGS, **QUICK) as running:
        yield running


def web_socket(running: Deployment, path: str, *, origin: str | None = None) -> ClientConnection:
    return connect(
        f"ws://localhost:{running.port}{path}",
        origin=origin or running.origin,  # type: ignore[arg-type]
        ping_interval=None,
    )


@contextmanager
def subscribed(running: Deployment, channel: str) -> Iterator[ClientConnection]:
    """A client of the channel that is live."""
    with web_socket(running, f"/ws?channel={channel}") as client:
        assert message(client)["type"] == "welcome"
        assert message(client)["type"] == "subscribed"
        yield client


def message(client: ClientConnection) -> dict[str, Any]:
    received: dict[str, Any] = json.loads(client.recv(PATIENCE))
    return received


def line_with(stream: http.client.HTTPResponse, start: bytes) -> bytes:
    end = time.monotonic() + PATIENCE
    while not (line := stream.readline()).startswith(start):
        assert line, "the stream has ended"
        assert time.monotonic() < end, f"nothing but signs of life: {line!r}"
    return line


# --- what passes ---


def test_pages_under_its_address_are_our_own_and_others_are_not(three: Deployment) -> None:
    own = {"Origin": three.origin, "Sec-Fetch-Site": "same-origin"}
    with three.request("GET", "/", **own) as page:
        assert (page.status, b"<html" in page.read()) == (200, True)
    # Without Sec-Fetch-Site, Origin and Host are compared: both must come through as they were.
    with three.request("POST", "/notify/pages", b"hi", Origin=three.origin) as answer:
        assert answer.status == 200
    with web_socket(three, "/ws?channel=pages") as client:
        assert message(client)["type"] == "welcome"
    with pytest.raises(InvalidStatus, match="403"):
        with web_socket(three, "/ws?channel=pages", origin="https://evil.example"):
            pass
    with three.request("GET", "/channels", Host="evil.example") as answer:
        assert answer.status == 421


def test_connections_are_spread_and_a_publication_reaches_all_of_them(three: Deployment) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(subscribed(three, "spread")) for _ in range(6)]
        assert set(three.connections().values()) == {2}
        # Each goes to some node, whoever listens where.
        positions = [three.publish("spread", str(n))["position"] for n in range(6)]
        for client in clients:
            heard = [message(client) for _ in positions]
            assert [one["message"] for one in heard] == [str(n) for n in range(6)]
            assert [one["position"] for one in heard] == positions
    until(lambda: not any(three.connections().values()))


def test_everything_outlives_the_time_out_of_silent_connections(three: Deployment) -> None:
    with (
        subscribed(three, "long") as native,
        web_socket(three, "/raw/long") as raw,
        three.request("GET", "/events?channel=long") as events,
        three.request("GET", "/stream?channel=long") as stream,
    ):
        line_with(events, b"event: subscribed")
        line_with(stream, b'{"type":"subscribed"')
        end = time.monotonic() + 2.5 * float(QUICK["IDLE"].removesuffix("s"))
        while time.monotonic() < end:
            line_with(stream, b'{"type":"keepalive"')
        three.publish("long", "still here")
        assert message(native)["message"] == "still here"
        assert raw.recv(PATIENCE) == "still here"
        assert b"still here" in line_with(events, b'data: {"type":"notification"')
        assert b"still here" in line_with(stream, b'{"type":"notification"')


@pytest.mark.alone
def test_an_event_is_not_held_back(three: Deployment) -> None:
    with three.request("GET", "/events?channel=prompt") as events:
        line_with(events, b"event: subscribed")
        times = []
        for _ in range(9):
            began = time.monotonic()
            three.publish("prompt", "now")
            line_with(events, b'data: {"type":"notification"')
            times.append(time.monotonic() - began)
    # What waits for more to come waits for 40 ms (the other side's delayed ACK) or 200.
    assert statistics.median(times) < 0.035


@pytest.mark.alone
def test_whoever_hangs_up_has_left_at_once(three: Deployment) -> None:
    with three.request("GET", "/events?channel=left") as events:
        line_with(events, b"event: subscribed")
        assert sum(three.connections().values()) == 1
    began = time.monotonic()
    until(lambda: not any(three.connections().values()))
    # A stream learns of it by itself when it says something twice: every ping_interval.
    assert time.monotonic() - began < 1


def test_lines_are_answered_as_they_are_sent(three: Deployment) -> None:
    with socket.create_connection(("127.0.0.1", three.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /notify/lines?answers=all HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for n in range(3):
            line = json.dumps({"message": f"line {n}"}).encode() + b"\n"
            connection.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            received = b""
            while b'"id"' not in received:
                part = connection.recv(65536)
                assert part, received
                received += part
        connection.sendall(b"0\r\n\r\n")


# --- what comes and goes ---


def test_nodes_that_are_added_and_removed_are_noticed(
    haproxy: WebServer, broker: str, tmp_path: Path
) -> None:
    with (
        deployment(haproxy, tmp_path, "--broker", broker, names=2) as running,
        ExitStack() as stack,
    ):
        first = [stack.enter_context(subscribed(running, "scale")) for _ in range(2)]
        *old, new = running.nodes
        assert running.connections() == {**dict.fromkeys(old, 1), new: 0}
        running.names.addresses = list(running.nodes)
        until(lambda: running.found() == 3)
        first.append(stack.enter_context(subscribed(running, "scale")))
        assert running.connections()[new] == 1
        # Whose name is gone gets nobody new, and keeps those it has.
        running.names.addresses = [new]
        until(lambda: len(running.lost()) == 2)
        running.publish("scale", "to all")
        assert {message(client)["message"] for client in first} == {"to all"}
        before = running.connections()
        first += [stack.enter_context(subscribed(running, "scale")) for _ in range(3)]
        assert running.connections() == before | {new: before[new] + 3}


def test_a_node_that_drains_gets_nobody_new_and_ends_in_order(
    haproxy: WebServer, broker: str, tmp_path: Path
) -> None:
    settings = ("--broker", broker, "--drain-seconds", "2")
    with (
        deployment(haproxy, tmp_path, *settings, nodes=2, names=1) as running,
        ExitStack() as stack,
    ):
        leaving, staying = running.nodes
        clients = [stack.enter_context(subscribed(running, "drain")) for _ in range(3)]
        producer = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE)
        stack.enter_context(producer)
        producer.sendall(
            b"POST /notify/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert producer.recv(4096).startswith(b"HTTP/1.1 100"), "a node has it"
        producer.sendall(b"he")
        running.names.addresses = [leaving, staying]
        until(lambda: running.found() == 2)

        running.nodes[leaving].terminate()
        assert {message(client)["type"] for client in clients} == {"reconnect"}
        # At once, while the balancer has not yet noticed: who knocks in vain is sent to the other.
        for n in range(10):
            running.publish("drain", str(n))
            with subscribed(running, "drain"):
                pass
        # Those who are there are served until their time has come, and told to come back.
        producer.sendall(b"llo")
        assert producer.recv(4096).startswith(b"HTTP/1.1 200")
        for client in clients:
            heard = []
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    heard.append(message(client)["message"])
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
            expected = [*map(str, range(10)), "hello"]
            assert heard == expected[: len(heard)]
        assert asyncio.run(running.nodes[leaving].exit_code()) == 0
        assert connections(staying, running.nodes[staying].port) == 0


COUNT = 300


async def follow(client: Client, heard: list[str | None], gaps: list[Gap]) -> None:
    async with client.subscribe("account", since="all", on_gap=gaps.append) as account:
        async for n in account:
            heard.append(n.message)


@pytest.fixture
def crowd(haproxy: WebServer, broker: str, tmp_path: Path) -> Iterator[Deployment]:
    settings = ("--broker", broker, "--drain-seconds", "1", "--history-size", str(2 * COUNT))
    with deployment(haproxy, tmp_path, *settings) as running:
        yield running


@pytest.mark.gen_test(timeout=120)
async def test_nobody_misses_anything_when_nodes_die_and_leave(crowd: Deployment) -> None:
    """One is killed, another leaves: all end up on the third, and each has had each, once."""
    url = f"http://localhost:{crowd.port}"
    heard: list[list[str | None]] = [[] for _ in range(6)]
    gaps: list[Gap] = []
    killed, leaving, _ = crowd.nodes.values()
    async with notifier.client.connect(url, max_delay=1) as client, asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(follow(client, each, gaps)) for each in heard]
        for n in range(COUNT):
            await client.publish("account", str(n), id=f"account-{n}")
            if n == COUNT // 3:
                killed.kill()
            if n == 2 * COUNT // 3:
                leaving.terminate()
        async with asyncio.timeout(PATIENCE):
            while any(len(each) < COUNT for each in heard):  # noqa: ASYNC110 -- of other processes
                await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
    assert not gaps
    for each in heard:
        assert each == [str(n) for n in range(COUNT)]


def test_without_a_ready_node_it_says_so_at_once(haproxy: WebServer, tmp_path: Path) -> None:
    with deployment(haproxy, tmp_path, nodes=1, names=1) as running:
        (node,) = running.nodes.values()
        node.kill()
        asyncio.run(node.exit_code())
        began = time.monotonic()
        with running.request("POST", "/notify/alerts", b"hi") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        # A browser's EventSource comes back where its connection breaks, but never after a 503.
        with pytest.raises(http.client.RemoteDisconnected):
            with running.request("GET", "/events?channel=alerts"):
                pass
        assert time.monotonic() - began < 5


# --- the file itself ---

CONFIGURATION = (FILES / "haproxy.cfg").read_text("utf-8")


def written(pattern: str) -> int:
    """A number of the configuration; of seconds, where it is a time."""
    found = re.search(rf"^\s*{pattern} (\d+)(s|h|)$", CONFIGURATION, re.MULTILINE)
    assert found, pattern
    return int(found[1]) * {"": 1, "s": 1, "h": 3600}[found[2]]


def test_its_numbers_fit_the_settings() -> None:
    settings = Settings()
    assert written("presetenv IDLE") >= settings.ping_interval + settings.ping_timeout
    assert written("presetenv IDLE") > settings.body_timeout
    assert written("timeout http-request") >= settings.header_timeout
    assert written("timeout tunnel") > written("presetenv IDLE")
    assert written("hard-stop-after") >= settings.drain_seconds + 3
    assert written("presetenv MAXCONN") == 3 * settings.max_connections
    assert f"notifier:{settings.port}" in CONFIGURATION


def test_every_variable_has_a_value_of_its_own() -> None:
    used = Counter(re.findall(r"\$\{(\w+)\}", CONFIGURATION))
    assert set(used) == set(re.findall(r"presetenv (\w+)", CONFIGURATION))
    # Outside double quotes a variable is not one.
    assert all(f'"${{{name}}}"' in CONFIGURATION for name in used)
