"""What ends a connection while something is under way for it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.revocations import Revocation
from notifier.notification import Notification
from notifier.server import Server
from tests.auth.signing import SECRET
from tests.frames import client_frame
from tests.handlers.serving import head, raw_socket, serving, stored_in, until, wire_to


@pytest.fixture
async def guarded() -> AsyncIterator[Server]:
    """Who listens shows a token; history is for everybody."""
    async with serving(token_secret=SECRET, who_may_read_history="public") as server:
        yield server


def shown() -> dict[str, str]:
    claims = {
        "sub": "42",
        "jti": "t1",
        "channels": ["alerts"],
        "publish": True,
        "exp": time.time() + 600,
    }
    return {"Authorization": f"Bearer {make_token(claims, signing_secret(SECRET))}"}


def revoke(server: Server) -> int:
    return server.node.residents.revoke([Revocation("t1", time.time() + 600)])


async def test_payloads_of_a_revoked_token_are_not_taken_after_the_close(guarded: Server) -> None:
    """The server waits for the client's Close, and who is to leave need not hurry."""
    async with raw_socket(guarded.port, "/raw/alerts", shown()) as client:
        await client.send(client_frame(b"before"))
        assert (await client.frame())[1] == b"before"
        assert revoke(guarded) == 1
        opcode, payload = await client.frame()
        assert (opcode, int.from_bytes(payload[:2])) == (8, 4503)
        for _ in range(3):
            await client.send(client_frame(b"after"))
        client.half_close()
        await until(lambda: not guarded.node.connections)
    assert [one["message"] for one in await stored_in(guarded.port, "alerts")] == ["before"]


async def test_a_poll_that_is_read_slowly_ends_with_its_token(guarded: Server) -> None:
    async with wire_to(guarded.port, receive_buffer=4096) as wire:
        for _ in range(40):
            await guarded.node.publish(
                Notification.of_payload("x" * 500_000), "alerts", producer=""
            )
        headers = {**shown(), "Connection": "close"}
        await wire.send(head("GET", "/stream?channel=alerts&poll=1", headers))
        await wire.answer_head()
        assert revoke(guarded) == 0
        await guarded.node.publish(Notification.of_payload("secret"), "alerts", producer="")
        answer = await wire.ended()
    assert b"secret" not in answer
    assert b'"type":"end"' not in answer
    assert b'"code":40101' in answer[-1000:]


async def test_a_poll_that_is_read_slowly_ends_where_the_channel_was(guarded: Server) -> None:
    async with wire_to(guarded.port, receive_buffer=4096) as wire:
        for _ in range(40):
            await guarded.node.publish(
                Notification.of_payload("x" * 500_000), "alerts", producer=""
            )
        headers = {**shown(), "Connection": "close"}
        await wire.send(head("GET", "/stream?channel=alerts&poll=1", headers))
        await wire.answer_head()
        for _ in range(3):
            await guarded.node.publish(Notification.of_payload("later"), "alerts", producer="")
        answer = await wire.ended()
    assert b'"later"' not in answer
    assert b'"type":"end"' in answer[-200:] and b':40"' in answer[-200:]
