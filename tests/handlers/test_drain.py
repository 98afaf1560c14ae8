"""Leaving in good order: a server process gets a signal."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from notifier.server import Server
from tests.frames import CLOSE, client_frame
from tests.handlers.serving import (
    HANDSHAKE,
    PATIENCE,
    head,
    raw_socket,
    refused,
    request,
    until,
    wire_to,
)
from tests.processes import server_process


async def test_a_server_that_is_told_to_leave_does_so_in_good_order() -> None:
    with server_process("--drain-seconds", "5") as server:
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(wire_to(server.port))
            await kept.send(head("GET", "/health/ready"))
            assert (await kept.answer()).status == 200
            clients = [
                await stack.enter_async_context(raw_socket(server.port, "/ws?channel=a"))
                for _ in range(5)
            ]
            for client in clients:
                assert (await client.message())["type"] == "subscribed"

            began = time.monotonic()
            server.signal(signal.SIGTERM)
            told = [await client.message() for client in clients]
            assert {message["type"] for message in told} == {"reconnect"}
            slots = sorted(message["after_ms"] for message in told)
            assert slots[0] == 0
            assert len(set(slots)) == 5, "each has a slot of its own"
            steps = [after - before for before, after in pairwise(slots)]
            assert max(steps) - min(steps) <= 1, "evenly spread"
            assert slots[-1] < 5000

            # Not ready, and nobody new, while those who are here are served.
            await kept.send(head("GET", "/health/ready"))
            ready = await kept.answer()
            assert (ready.status, ready.json["reason"]) == (503, "draining")
            assert refused(server.port)
            await kept.send(head("POST", "/notify/a", {"Content-Length": "2"}) + b"hi")
            answer = await kept.answer()
            assert (answer.status, answer.json["subscribers"] > 0) == (200, True)
            assert answer.headers["connection"] == "close", "the next one goes to another node"
            await kept.send(head("GET", "/ws", HANDSHAKE))
            assert (await kept.answer()).code == 50302
            last = clients[told.index(max(told, key=lambda message: message["after_ms"]))]
            assert (await last.message())["message"] == "hi"
            refusal = await last.ask({"type": "subscribe", "channel": "b"})
            assert (refusal["code"], refusal["temporary"]) == (50302, True)

            # Who stays past its slot is closed; who is told may go by itself.
            await last.send(client_frame((1000).to_bytes(2), CLOSE))
            assert (await last.closed())[0] == 1000
            for client in clients:
                if client is not last:
                    while (frame := await client.frame())[0] != CLOSE:
                        pass
                    assert int.from_bytes(frame[1][:2]) == 4000
                    await client.send(client_frame(frame[1][:2], CLOSE))
        assert await server.exit_code() == 0
        assert time.monotonic() - began < 30, "not much longer than it was given"


async def test_an_empty_server_leaves_at_once() -> None:
    with server_process("--drain-seconds", "600") as server:
        server.signal(signal.SIGTERM)
        assert await server.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_drains_and_a_second_one_stops_at_once(number: signal.Signals) -> None:
    with server_process("--drain-seconds", "600") as server:
        async with raw_socket(server.port) as first, raw_socket(server.port) as second:
            server.signal(number)
            for client in (first, second):
                assert (await client.message())["type"] == "reconnect"
                assert (await client.ask({"type": "ping"}))["type"] == "reply", "it is served"
            other = signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM
            server.signal(other)
            assert await server.exit_code() == 0


async def test_an_echo_is_closed_when_its_slot_has_passed() -> None:
    with server_process("--drain-seconds", "0.4") as server:
        async with raw_socket(server.port, "/echo") as socket:
            server.signal(signal.SIGTERM)
            assert (await socket.closed(answer=True))[0] == 4000
        assert await server.exit_code() == 0


async def test_clients_that_do_not_react_do_not_hold_it_up() -> None:
    with server_process("--drain-seconds", "0.4") as server:
        async with raw_socket(server.port) as stubborn, wire_to(server.port) as slow:
            await slow.send(head("POST", "/notify/a", {"Content-Length": "100"}) + b"half")
            server.signal(signal.SIGTERM)
            assert await server.exit_code() == 0
            assert (await stubborn.message())["type"] == "reconnect"


async def test_a_request_under_way_is_answered_before_the_server_stops() -> None:
    with server_process("--drain-seconds", "10") as server:
        async with wire_to(server.port) as wire:
            # 100 says that it is under way: a connection not yet accepted would be reset.
            headers = {"Content-Length": "5", "Expect": "100-continue"}
            await wire.send(head("POST", "/notify/a", headers))
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            await wire.send(b"he")
            server.signal(signal.SIGTERM)
            await until(lambda: refused(server.port))
            await wire.send(b"llo")
            assert (await wire.answer()).status == 200
        assert await server.exit_code() == 0


async def test_a_request_that_was_broken_off_is_not_waited_for(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": "5"}) + b"he")
        await until(lambda: not server.node.requests.quiet.is_set())
    async with asyncio.timeout(PATIENCE):
        await server.node.requests.quiet.wait()


async def test_a_request_refused_unread_is_not_waited_for(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", {"Content-Length": "999999999"}) + b"he")
        assert (await wire.answer()).status == 413
    async with asyncio.timeout(PATIENCE):
        await server.node.requests.quiet.wait()


@pytest.mark.parametrize(
    "path", ["/ws", "/raw/a", "/echo", "/events?channel=a", "/stream?channel=a"]
)
async def test_who_is_turned_away_is_to_come_back_over_another_connection(
    server: Server, path: str
) -> None:
    """Over this one a client that keeps connections would only get here again."""
    server.node.connections.draining = True
    headers = {"Accept": "text/event-stream"} if "events" in path else HANDSHAKE
    answer = await request(server.port, "GET", path, headers=headers)
    assert b'"code":50302' in answer.body
    assert answer.headers["connection"] == "close"
