"""A head that is no HTTP/1.1 is refused as everything else is, and its connection ends."""

from __future__ import annotations

import logging
import ssl

import pytest

from notifier.server import Server
from tests.handlers.serving import CERTIFICATE, Wire, head, serving, until, wire_to

HEADS = {
    "no version": b"GET /\r\n\r\n",
    "no spaces": b"nonsense\r\n\r\n",
    "no line at all": b"\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a version of the future": b"PRI * HTTP/2.0\r\n\r\n",
    "a control character": b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "no host name": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a length that is none": head("POST", "/notify/a", {"Content-Length": "+2"}) + b"hi",
    "two lengths": head("POST", "/notify/a", {"Content-Length": "2, 3"}) + b"hi",
    "a length and chunks": head(
        "POST", "/notify/a", {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    )
    + b"0\r\n\r\n",
    "another coding": head("POST", "/notify/a", {"Transfer-Encoding": "gzip"}) + b"hi",
    "chunks in HTTP/1.0": b"POST /notify/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "parameters without end": head("GET", "/stream?" + "&".join(["a=1"] * 2000)),
}
every_head = pytest.mark.parametrize("data", HEADS.values(), ids=HEADS)
WELL = head("GET", "/health/live")


async def refused(wire: Wire) -> None:
    """It is told what is wrong, and nothing comes after."""
    answer = await wire.answer()
    assert (answer.status, answer.code) == (400, 40000)
    assert answer.json["error"]["docs"] == "docs/reference/errors.md#40000"
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert await wire.ended() == b""


@every_head
async def test_it_is_told_and_counted_and_the_connection_ends(
    server: Server, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier.http")
    async with wire_to(server.port) as wire:
        # What follows is not taken for a request.
        await wire.send(data + WELL)
        wire.half_close()
        await refused(wire)
    assert server.node.counts.errors[40000] == 1
    assert "request.malformed" in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@every_head
async def test_it_is_told_so_after_others_were_answered(server: Server, data: bytes) -> None:
    async with wire_to(server.port) as wire:
        for _ in range(2):
            await wire.send(WELL)
            assert (await wire.answer()).status == 200
        await wire.send(WELL + data)
        assert (await wire.answer()).status == 200
        await refused_open(wire)
    assert server.node.counts.errors[40000] == 1


async def refused_open(wire: Wire) -> None:
    """As :func:`refused`, of a client that may say more."""
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    wire.half_close()
    assert await wire.ended() == b""


async def test_who_still_sends_gets_to_read_it(server: Server) -> None:
    """Closed with something unread, the connection would be reset and the answer lost."""
    async with wire_to(server.port) as wire:
        await wire.send(HEADS["two lengths"])
        assert await wire.flood(b"x" * 2**20, 4) == 4
        await refused_open(wire)


async def test_who_does_not_wait_for_it_leaves_nothing_behind(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(HEADS["no spaces"])
        wire.reset()
    await until(lambda: server.node.counts.errors[40000] == 1)
    await until(lambda: not server._http._connections)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_over_https_it_insists_on_it() -> None:
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    files = {"tls_cert": str(CERTIFICATE), "tls_key": str(CERTIFICATE)}
    async with (
        serving(hsts_max_age=60, **files) as server,
        wire_to(server.port, tls=trusting) as wire,
    ):
        await wire.send(HEADS["no host"])
        answer = await wire.answer()
        assert answer.status == 400
        assert answer.headers["strict-transport-security"] == "max-age=60"
