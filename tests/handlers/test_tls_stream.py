"""A TLS connection as a sink's stream, when its socket is full."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

from tornado.iostream import SSLIOStream

from handlers.tls import RECORD, TLSStream
from notifier.tls import Keypair
from tests.certificates import certificate


async def test_a_record_that_openssl_holds_counts_as_sent(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    near, far = socket.socketpair()
    near.setblocking(False)
    context = Keypair(pair.cert, pair.key).load().context
    stream = SSLIOStream(context.wrap_socket(near, server_side=True, do_handshake_on_connect=False))
    trusting = ssl.create_default_context(cafile=pair.cert)
    (reader, writer), _ = await asyncio.gather(
        asyncio.open_connection(sock=far, ssl=trusting, server_hostname="localhost", limit=1024),
        stream.wait_for_handshake(),
    )
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    outlet = TLSStream(stream)
    total = 0
    while not stream.writing():
        total += outlet.send(b"x" * 10 * RECORD)
    assert len(stream._write_buffer) == RECORD, "begun, and to be sent to its end"
    assert (outlet.pending(), total % RECORD) == (0, 0)
    try:
        outlet.send(b"x")
    except BlockingIOError:
        pass
    else:
        raise AssertionError("it would come before the record")
    rest = outlet.write(b"y" * 100)
    assert outlet.pending() == 100
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert await reader.readexactly(total + 100) == b"x" * total + b"y" * 100
    await rest  # type: ignore[misc]
    assert outlet.pending() == 0
    # What is written later is not taken for that record.
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    outlet.write(b"z" * 10_000_000)
    assert outlet.pending() == len(stream._write_buffer)
    writer.transport.abort()
    stream.close()
