"""permessage-deflate (RFC 7692): what it costs the server, and what it saves on the way."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.case import Case, Cases, Figure, Side, Turn
from bench.load import LoadError
from bench.peers.notifier import NotifierPeer
from bench.plan import Plan
from bench.scenarios.fanout import CPU, P99
from bench.stage import CHANNEL, Stage

BYTES = Figure("bytes_per_delivery", "bytes per delivery", "B", 1, 0)
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}
PAYLOAD_BYTES = 2000
_RSV1, _FLUSHED = 0x40, b"\x00\x00\xff\xff"


def cases(plan: Plan) -> Cases:
    if "notifier" not in plan.peers:
        return
    sockets = plan.sockets(1000)
    yield Case(
        "deflate",
        f"{sockets:,} sockets, {PAYLOAD_BYTES} bytes, 20 a second",
        [
            _side("deflate", "notifier, deflated", plan, sockets, deflate=True),
            _side("plain", "notifier, plain", plan, sockets, deflate=False),
        ],
        (CPU, BYTES, P99),
    )


def _side(name: str, title: str, plan: Plan, sockets: int, *, deflate: bool) -> Side:
    @contextmanager
    def begin() -> Iterator[Callable[[], Turn]]:
        peer = NotifierPeer("--deflate") if deflate else NotifierPeer()
        with Stage(peer, plan, payload_bytes=PAYLOAD_BYTES) as stage:
            # The load only counts and compares what is deflated; one stream of it is read here.
            headers, opaque = (OFFER, 1) if deflate else ({}, 0)
            opened = stage.listen(sockets, stage.group(CHANNEL, headers=headers, opaque=opaque))
            if bool(opened["deflate"]) is not deflate:
                raise LoadError("permessage-deflate was not negotiated as it should be")
            stage.publish(interval=0.05)

            def turn() -> Turn:
                result = stage.turn(seconds=plan.seconds)
                stream = bytes.fromhex(stage.load.tell("dump")["stream"])
                result["bytes_per_delivery"] = len(stream) / max(1, result["published"])
                if deflate:
                    messages = list(inflated(stream))
                    numbers = [int(m.split(b"@0000.")[1][:8], 16) for m in messages]
                    result["wrong"] += numbers != list(range(int(result["published"])))
                return result

            yield turn

    return Side(name, title, begin)


def inflated(stream: bytes) -> Iterator[bytes]:
    """The messages in a server's bytes, each deflated by itself or not at all."""
    at = 0
    while at < len(stream):
        first, size = stream[at], stream[at + 1]
        at += 2
        if size >= 126:
            extended = 2 if size == 126 else 8
            size = int.from_bytes(stream[at : at + extended])
            at += extended
        payload = stream[at : at + size]
        at += size
        # Each is a part of a stream that has no end (RFC 7692 §7.2.2).
        part = zlib.decompressobj(-15)
        yield part.decompress(payload + _FLUSHED) if first & _RSV1 else payload
