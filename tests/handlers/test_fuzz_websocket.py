"""Frames that no client sends: a broken rule ends its connection, with its code, and no other's."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from handlers.protocol import CONTROL_BYTES, Protocol
from notifier.notification import Notification
from notifier.server import Server
from notifier.wire.websocket import may_be_sent
from tests.frames import BINARY, CLOSE, PING, PONG, TEXT, client_frame
from tests.handlers.serving import RawSocket, faults, open_stream, raw_socket, serving, until

LIMIT = 2000
# Who waits longer waits for nothing; short, because what fails is tried again in many ways.
PATIENCE = 10.0
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
# The native protocol hangs up on who sends three messages in a row that are none of its own.
OF_ITS_OWN = {"/ws": {4500}}
# The Close frame has no code: what the peer has said was neither.
NO_CODE = 0


def verdicts(data: bytes) -> set[int | None]:
    """The codes with which a server may close after these bytes (RFC 6455 §5, §7.4, §8.1).

    None among them: it may as well wait for more.
    """
    under_way: tuple[int, bytes] | None = None
    # A message a little too big may be told when it ends (handlers/protocol.py, CONTROL_BYTES).
    late: set[int | None] = set()
    while True:
        if len(data) < 2:
            return late | {None}
        first, second = data[0], data[1]
        opcode, size, at = first & 0x0F, second & 0x7F, 2
        wrong: set[int | None] = set()
        control = opcode >= 8
        if (
            first & 0x70
            or not second & 0x80
            or opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG)
            or (control and (size > 125 or not first & 0x80))
            or (not control and (opcode == 0) == (under_way is None))
        ):
            wrong = {PROTOCOL_ERROR}
        if size > 125:
            width = 2 if size == 126 else 8
            if len(data) < 2 + width:
                return wrong | late | {None}
            size, at = int.from_bytes(data[2 : 2 + width]), 2 + width
        if size >= 1 << 63:
            wrong |= {PROTOCOL_ERROR, TOO_BIG}
        elif not control:
            whole = size + len(under_way[1] if under_way else b"")
            if whole > LIMIT + CONTROL_BYTES or (whole > LIMIT and first & 0x80):
                wrong |= {TOO_BIG}
            elif whole > LIMIT:
                late = {TOO_BIG}
        mask = data[at : at + 4] if second & 0x80 else b""
        at += len(mask)
        payload = data[at : at + size]
        if wrong:
            return wrong | late if len(payload) == size else wrong | late | {None}
        if len(mask) < 4 or len(payload) < size:
            return late | {None}
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        data = data[at + size :]
        if opcode == CLOSE:
            return late | {_closing(payload)}
        if control:
            continue
        kind, begun = under_way or (opcode, b"")
        under_way = (kind, begun + payload)
        if first & 0x80:
            if kind == TEXT and not _is_text(under_way[1]):
                return late | {INVALID_DATA}
            under_way = None


def _closing(payload: bytes) -> int:
    code = int.from_bytes(payload[:2])
    if payload and (len(payload) == 1 or not may_be_sent(code)):
        return PROTOCOL_ERROR
    return code if _is_text(payload[2:]) else INVALID_DATA


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Victim:
    """A server that is sent anything, and somebody who is not to notice."""

    def __init__(self, server: Server, witness: RawSocket, log: pytest.LogCaptureFixture) -> None:
        self._server = server
        self._witness = witness
        self._log = log
        self._said = 0

    async def send(self, path: str, data: bytes, cuts: list[int]) -> int | None:
        """The code of its Close; None where it hung up without, when the client had."""
        reader, writer = await open_stream(self._server.port)
        socket = RawSocket(reader, writer)
        code: int | None = None
        try:
            assert (await socket.upgrade(path)).status == 101
            begin = 0
            for cut in [*sorted(cuts), len(data)]:
                await socket.send(data[begin:cut])
                begin = max(begin, cut)
            if None in verdicts(data):
                socket.half_close()  # the server would wait for the rest
            async with asyncio.timeout(PATIENCE):
                while True:
                    opcode, payload = await socket.frame()
                    if opcode == CLOSE:
                        code = int.from_bytes(payload[:2])
                        socket.half_close()  # all is said: it need not wait for ours
                        assert await socket.ended() == b""
                        break
        except asyncio.IncompleteReadError:
            assert not socket.parser.inside, "cut off in the middle of a frame"
        except OSError:
            pass  # it had hung up while we were still sending
        finally:
            socket.close()
        await until(lambda: len(self._server.node.connections) == 1)
        await self._is_well()
        return code

    async def _is_well(self) -> None:
        self._said += 1
        said = Notification.of_payload(f"number {self._said}")
        await self._server.node.publish(said, "witness", producer="")
        assert (await self._witness.message())["message"] == f"number {self._said}"
        wrong = faults(self._log)
        self._log.clear()  # the next try is another matter
        assert wrong == []


@pytest.fixture
def victim(io_loop: IOLoop, caplog: pytest.LogCaptureFixture) -> Iterator[Victim]:
    run = io_loop.asyncio_loop.run_until_complete
    stack = AsyncExitStack()
    server = run(stack.enter_async_context(serving(max_message_bytes=LIMIT)))
    witness = run(stack.enter_async_context(raw_socket(server.port, "/ws?channel=witness")))
    assert run(witness.message())["type"] == "subscribed"
    yield Victim(server, witness, caplog)
    run(stack.aclose())
    gc.collect()
    left = [thing for thing in gc.get_objects() if isinstance(thing, Protocol)]
    assert len(left) <= 1, "connections that are gone are still held"  # the witness may be closing


_PAYLOADS = st.one_of(
    st.sampled_from(
        [b"", b"hi", b'{"type":"ping"}', b'{"type":"subscribe","channel":"a"}', b"[" * 900,
         "é".encode(), "é".encode()[:1], b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
         b"x" * 125, b"x" * 126, b"x" * (LIMIT - 1), b"x" * LIMIT, b"x" * (LIMIT + 1)]
    ),
    st.binary(max_size=20),
)  # fmt: skip
_CODES = st.one_of(
    st.sampled_from([0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1015, 1016, 2999, 3000]),
    st.integers(0, 65535),
)
_GOODBYES = st.one_of(
    st.builds(lambda code, why: code.to_bytes(2) + why, _CODES, st.binary(max_size=5)),
    st.binary(max_size=1),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One that keeps the rules more often than not."""
    odd = draw(st.integers(0, 3)) == 0
    opcode = draw(
        st.integers(0, 15) if odd else st.sampled_from([0, TEXT, TEXT, BINARY, CLOSE, PING, PONG])
    )
    payload = draw(_GOODBYES if opcode == CLOSE else _PAYLOADS)
    if opcode >= 8 and not odd:
        payload = payload[:125]
    return client_frame(
        payload,
        opcode,
        fin=draw(st.booleans()) if opcode < 8 or odd else True,
        reserved=draw(st.sampled_from([0, 0, 1, 2, 4])) if odd else 0,
        masked=not odd or draw(st.integers(0, 3)) > 0,
        size=draw(st.sampled_from([None, None, 0, 70000, 1 << 40, 1 << 63])) if odd else None,
    )


@pytest.mark.parametrize("path", ["/ws", "/raw/a", "/echo"])
def test_a_broken_rule_ends_its_connection_with_its_code(
    victim: Victim, io_loop: IOLoop, path: str
) -> None:
    @settings(max_examples=200)
    @given(
        data=st.lists(frames(), max_size=6).map(b"".join),
        cuts=st.lists(st.integers(0, 3000), max_size=3),
    )
    @example(data=client_frame(b"", CLOSE), cuts=[])
    @example(data=client_frame(b"hi", size=1 << 63), cuts=[])
    @example(data=client_frame(b"", 3, fin=False), cuts=[])
    # Each rule by itself, since chance may break two at once or none.
    @example(data=client_frame(b"hi", masked=False), cuts=[])
    @example(data=client_frame(b"hi", reserved=1), cuts=[])
    @example(data=client_frame(b"hi", PING, fin=False), cuts=[])
    @example(data=client_frame(b"x" * 126, PING), cuts=[])
    @example(data=client_frame(b"hi", 0), cuts=[])
    @example(data=client_frame(b"h", fin=False) + client_frame(b"i"), cuts=[])
    def attempt(data: bytes, cuts: list[int]) -> None:
        code = io_loop.asyncio_loop.run_until_complete(victim.send(path, data, cuts))
        assert code in verdicts(data) | OF_ITS_OWN.get(path, set())

    attempt()


@pytest.mark.parametrize("path", ["/ws", "/raw/a", "/echo"])
def test_bytes_that_are_no_frames_end_it_as_well(
    victim: Victim, io_loop: IOLoop, path: str
) -> None:
    @settings(max_examples=150)
    @given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=3))
    def attempt(data: bytes, cuts: list[int]) -> None:
        code = io_loop.asyncio_loop.run_until_complete(victim.send(path, data, cuts))
        assert code in verdicts(data) | OF_ITS_OWN.get(path, set())

    attempt()
