"""HTTPS by ourselves: handshakes good and bad, and a certificate that is replaced."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from notifier.server import WATCH_SECONDS, Server
from tests.certificates import Pair, certificate
from tests.frames import client_frame
from tests.handlers.serving import PATIENCE, RawSocket, head, open_stream, request, serving, wire_to


def trust(pair: Pair) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=pair.cert)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate(tmp_path)


def settings(pair: Pair) -> dict[str, str]:
    return {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}


async def shown(server: Server) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with wire_to(server.port, context) as wire:
        found = wire._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


async def test_https_is_served_under_its_own_url(pair: Pair) -> None:
    async with serving(**settings(pair)) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        answer = await request(server.port, "GET", "/health/live", tls=trust(pair))
        assert answer.status == 200


async def test_old_versions_of_tls_are_refused(pair: Pair) -> None:
    async with serving(**settings(pair)) as server:
        old = trust(pair)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            await request(server.port, "GET", "/health/live", tls=old)


async def test_plain_http_on_the_port_is_ended_at_once(pair: Pair) -> None:
    async with serving(**settings(pair)) as server:
        async with wire_to(server.port) as wire:
            await wire.send(head("GET", "/health/live"))
            got = b""
            with suppress(ConnectionResetError):
                got = await wire.ended()
        assert not got.startswith(b"HTTP/")


async def test_who_connects_and_says_nothing_is_hung_up_on(pair: Pair) -> None:
    async with serving(**settings(pair), header_timeout=0.2) as server, wire_to(server.port) as w:
        assert await w.ended() == b""


async def test_who_stops_in_the_middle_of_the_handshake_is_hung_up_on(pair: Pair) -> None:
    client, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = trust(pair).wrap_bio(client, out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    async with serving(**settings(pair), header_timeout=0.2) as server, wire_to(server.port) as w:
        await w.send(out.read())
        assert (await w.ended())[:1] == b"\x16", "its own part of the handshake, then the end"


async def test_a_body_that_ends_with_the_connection_ends_with_goodbye(pair: Pair) -> None:
    """Without a close_notify OpenSSL 3 tells the client that it was cut."""
    async with serving(**settings(pair)) as server:
        port, context = server.port, trust(pair)

        def read_all() -> bytes:
            with (
                socket.create_connection(("localhost", port), timeout=PATIENCE) as plain,
                context.wrap_socket(
                    plain, server_hostname="localhost", suppress_ragged_eofs=False
                ) as secure,
            ):
                secure.sendall(b"GET /stream?channel=a&poll=1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
                got = b""
                while data := secure.recv(65536):
                    got += data
                return got

        assert b" 200 OK" in await asyncio.to_thread(read_all)


async def test_a_new_certificate_is_for_new_connections(pair: Pair, tmp_path: Path) -> None:
    other = certificate(tmp_path, "other")
    async with serving(**settings(pair)) as server:
        old = RawSocket(*await open_stream(server.port, tls=trust(pair)))
        assert (await old.upgrade("/ws")).status == 101
        assert (await old.message())["type"] == "welcome"
        before, after = der(pair), der(other)
        assert await shown(server) == before
        pair.put(other)
        server.reload()
        assert await shown(server) == after
        await old.send(client_frame(b'{"type": "ping", "ref": 1}'))
        assert (await old.message())["type"] == "reply", "the old connection stays"
        old.close()


async def test_files_that_cannot_be_used_leave_the_old_ones_in_force(
    pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = certificate(tmp_path, "other")
    async with serving(**settings(pair)) as server:
        before = der(pair)
        pair.cert.write_bytes(other.cert.read_bytes())  # half of a renewal
        server.reload()
        assert await shown(server) == before
        assert [r for r in caplog.records if "not_loaded" in r.getMessage()]
        pair.put(other)
        server.reload()
        assert await shown(server) == der(other)


async def test_a_changed_file_is_noticed_within_a_minute(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = certificate(tmp_path, "other")
    async with serving(**settings(pair)) as server:
        loop = asyncio.get_running_loop()
        now = loop.time()
        server._watch()
        pair.put(other)
        server._watch()
        assert await shown(server) != der(other), "it was just looked at"
        monkeypatch.setattr(loop, "time", lambda: now + 2 * WATCH_SECONDS)
        server._watch()
        monkeypatch.undo()
        assert await shown(server) == der(other)
