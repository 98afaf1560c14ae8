from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from notifier.notification import Gap, Position, Publication
from notifier.wire.messages import item
from notifier.wire.websocket import NATIVE, PING, Opcode, frame, may_be_sent

sizes = st.one_of(
    st.integers(0, 200),
    st.sampled_from([124, 125, 126, 127, 65534, 65535, 65536, 65537, 200_000]),
)


class Recorder:
    """A stream that keeps what is written to it."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> asyncio.Future[None]:
        self.data += bytes(data)
        return cast("asyncio.Future[None]", None)


def tornado_frame(payload: bytes, opcode: int) -> bytes:
    """What Tornado itself writes."""

    class Handler:
        stream = Recorder()

        def __getattr__(self, name: str) -> Any:
            return None

    handler = Handler()
    handler.stream = Recorder()
    protocol = WebSocketProtocol13(
        cast(Any, handler), mask_outgoing=False, params=_WebSocketParams()
    )
    protocol.stream = cast(Any, handler.stream)
    protocol._write_frame(True, opcode, payload)
    return handler.stream.data


@given(sizes, st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(min_size=1, max_size=4))
def test_frame_of_any_length_is_tornados_to_the_byte(size: int, opcode: int, unit: bytes) -> None:
    payload = (unit * size)[:size]
    assert frame(payload, opcode) == tornado_frame(payload, opcode)


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
@pytest.mark.parametrize("size", [0, 1, 2, 124, 125])
def test_control_frame_is_tornados_to_the_byte(opcode: Opcode, size: int) -> None:
    assert frame(b"x" * size, opcode) == tornado_frame(b"x" * size, opcode)


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
@pytest.mark.parametrize("size", [126, 65535, 65536])
def test_control_frame_over_125_bytes_is_refused(opcode: Opcode, size: int) -> None:
    with pytest.raises(ValueError, match="125"):
        frame(b"x" * size, opcode)


def test_frame_is_text_whole_and_unmasked() -> None:
    assert frame(b"hi") == b"\x81\x02hi"
    assert PING == b"\x89\x00"


@pytest.mark.parametrize(
    ("codes", "allowed"),
    [
        (range(1000), False),
        (range(1000, 1004), True),
        (range(1004, 1007), False),
        (range(1007, 1015), True),
        (range(1015, 3000), False),
        (range(3000, 5000), True),
        (range(5000, 65536), False),
    ],
)
def test_close_codes_that_may_be_sent_are_those_of_rfc_6455(codes: range, allowed: bool) -> None:
    assert all(may_be_sent(code) is allowed for code in codes)


def test_native_format_is_a_text_frame_around_the_message() -> None:
    publication = Publication("a", Position("e", 7), "x", 0, b'"message":"h\xc3\xa9"')
    for thing in (publication, Gap("a", None, Position("e", 7))):
        assert NATIVE.encode(thing) == frame(item(thing), Opcode.TEXT)
