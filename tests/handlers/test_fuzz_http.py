"""What is no HTTP, or nearly: it is refused or cut off, and no body is ever taken for a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from notifier.channels import Pattern
from notifier.server import Server
from tests.handlers.framing import statuses, whole_requests
from tests.handlers.serving import faults, head, request, serving, wire_to

# So long a request that is never finished is waited for, each.
IMPATIENT = {"header_timeout": 0.15, "body_timeout": 0.15}


class Victim:
    """A server that is sent anything, and what it made of it."""

    def __init__(self, server: Server, log: pytest.LogCaptureFixture) -> None:
        self._server = server
        self._log = log
        self._tries = count()

    async def send(
        self, data: bytes, *, cuts: list[int] | None = None, half_close: bool = False
    ) -> tuple[list[int], list[str]]:
        """The statuses of its answers until it hung up, and the channels that it published to.

        :param data: ``@`` in it becomes what no other try has in its names.
        :param cuts: where what is sent is cut into pieces.
        """
        tag = f"t{next(self._tries)}".encode()
        # As long as what it stands for, lengths are those of what is sent.
        data = data.replace(b"@@@@@@", tag.ljust(6, b"x"))
        async with wire_to(self._server.port) as wire:
            begin = 0
            try:
                for cut in [*sorted(cuts or []), len(data)]:
                    await wire.send(data[begin:cut])
                    begin = max(begin, cut)
                if half_close:
                    wire.half_close()
                # It ends by itself: by its answer, by the client's FIN, or when its patience does.
                answers = await wire.ended()
            except ConnectionResetError:
                answers = b""
        found = statuses(answers)
        page = await self._server.node.directory.channels(
            Pattern.parse(tag.ljust(6, b"x").decode() + "*"), "", 1000
        )
        assert all(status < 500 for status in found), found
        await self.is_well()
        return found, [one.channel[6:] for one in page.channels]

    async def is_well(self) -> None:
        """It answers others, and nothing went wrong in it."""
        answer = await request(self._server.port, "GET", "/health/live")
        assert answer.status == 200
        wrong = faults(self._log)
        self._log.clear()  # the next try is another matter
        assert wrong == []


@pytest.fixture
def victim(io_loop: IOLoop, caplog: pytest.LogCaptureFixture) -> Iterator[Victim]:
    run = io_loop.asyncio_loop.run_until_complete
    stack = AsyncExitStack()
    server = run(stack.enter_async_context(serving(**IMPATIENT)))
    yield Victim(server, caplog)
    run(stack.aclose())


def posted(channel: str, body: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    """A request that publishes; the fields say how long its body is."""
    lines = [
        b"POST /notify/@@@@@@%s HTTP/%s" % (channel.encode(), version),
        b"Host: localhost",
        *fields,
        b"",
        body,
    ]
    return b"\r\n".join(lines)


def sized(channel: str, body: bytes = b"hi") -> bytes:
    return posted(channel, body, b"Content-Length: %d" % len(body))


HIDDEN = sized("hidden")
LAST = head("GET", "/health/live", {"Connection": "close"})
CHUNKED = b"Transfer-Encoding: chunked"


def in_chunks(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


async def test_requests_that_leave_no_doubt_are_all_answered(victim: Victim) -> None:
    """Else nothing below would mean anything."""
    several = sized("a") + posted("b", in_chunks(b"h", HIDDEN), CHUNKED) + sized("c", HIDDEN)
    found, channels = await victim.send(several + LAST)
    assert found == [200, 200, 200, 200]
    assert channels == ["a", "b", "c"]


# Each has a whole request in what one of two readings takes for a body (RFC 9112 §11.2).
_AFTER = b"0\r\n\r\n" + HIDDEN
SMUGGLED = {
    "a length and chunks": posted("a", _AFTER, b"Content-Length: %d" % len(_AFTER), CHUNKED),
    "chunks and a length": posted("a", _AFTER, CHUNKED, b"Content-Length: %d" % len(_AFTER)),
    "chunks and no length": posted("a", in_chunks(HIDDEN), CHUNKED, b"Content-Length: 4"),
    "two lengths": posted("a", HIDDEN, b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN)),
    "two lengths, long first": posted(
        "a", HIDDEN, b"Content-Length: %d" % len(HIDDEN), b"Content-Length: 0"
    ),
    "two lengths in one": posted("a", HIDDEN, b"Content-Length: 0, %d" % len(HIDDEN)),
    **{
        f"length {value!r}": posted("a", HIDDEN, b"Content-Length: " + value)
        for value in (
            b"+0", b"-0", b"0x0", b"0_0", b"0 0", b"0;", b"", b"\xd9\xa0", b"0\x0b", b"0.0"
        )
    },
    **{
        f"coding {value!r}": posted("a", _AFTER, b"Transfer-Encoding: " + value)
        for value in (
            b"xchunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked, chunked",
            b"chunked;q=1", b"\x0bchunked", b"chunked\x0b", b"\"chunked\"", b"chunk\xe9d", b"",
            b"chunked\x00", b"chunked,",
        )
    },
    "two codings": posted("a", _AFTER, CHUNKED, b"Transfer-Encoding: identity"),
    "a space before the colon": posted("a", _AFTER, b"Transfer-Encoding : chunked"),
    "a length with a space before the colon": posted(
        "a", HIDDEN, b"Content-Length : %d" % len(HIDDEN)),
    "a tab before the colon": posted("a", _AFTER, b"Transfer-Encoding\t: chunked"),
    "a field that is folded": posted("a", _AFTER, b"Transfer-Encoding:\r\n chunked"),
    "a field after a fold": posted("a", _AFTER, b"X: y\r\n Transfer-Encoding: chunked"),
    "a first field that is folded": b"POST /notify/@@@@@@a HTTP/1.1\r\n Host: localhost\r\n"
    b"Content-Length: 0\r\n\r\n" + HIDDEN,
    "a field after a bare CR": posted("a", _AFTER, b"X: y\rTransfer-Encoding: chunked"),
    "a field after a NUL": posted("a", _AFTER, b"X: y\0Transfer-Encoding: chunked"),
    "a name with a NUL": posted("a", HIDDEN, b"Content-\0Length: %d" % len(HIDDEN)),
    "a line without a colon": posted("a", HIDDEN, b"Content-Length"),
    "chunks in HTTP/1.0": posted(
        "a", _AFTER, CHUNKED, b"Connection: keep-alive", version=b"1.0"),
    **{
        f"chunk size {size!r}": posted("a", size + b"\r\n" + HIDDEN, CHUNKED)
        for size in (b"-1", b"+0", b"0x0", b"0_0", b"", b" 0", b"g", b"\xd9\xa0", b"0\0", b"1" * 17)
    },
    **{
        # Read as far as it is a number, the body would end here.
        f"last chunk {size!r}": posted("a", size + b"\r\n\r\n" + HIDDEN, CHUNKED)
        for size in (b"-0", b"+0", b"0x0", b"0_0", b"0 0", b"0g", b"0,0", b"\xd9\xa0", b"0\0")
    },
    "a chunk longer than it says": posted("a", b"1\r\nhi\r\n0\r\n\r\n" + HIDDEN, CHUNKED),
    "a chunk without its end": posted("a", b"2\r\nhi0\r\n\r\n" + HIDDEN, CHUNKED),
    "a chunk that ends in LF": posted("a", b"2\nhi\n0\n\n" + HIDDEN, CHUNKED),
    "an extension that ends in LF": posted(
        "a", b"2;x\nhi\r\n0\r\n\r\n" + HIDDEN, CHUNKED),
}  # fmt: skip


@pytest.mark.parametrize("attack", SMUGGLED)
async def test_a_body_in_doubt_is_refused_and_nothing_after_it_is_read(
    victim: Victim, attack: str
) -> None:
    found, channels = await victim.send(SMUGGLED[attack] + LAST)
    assert found in ([400], []), "what comes after was answered"
    assert channels == []


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%00/%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"\r\n" * 40_000,
        b": \r\n\r\n",
        b"\r\r\n\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: nothing\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
@pytest.mark.parametrize("half_close", [False, True])
async def test_what_is_no_request_is_refused_or_cut_off(
    victim: Victim, data: bytes, half_close: bool
) -> None:
    found, _ = await victim.send(data, half_close=half_close)
    assert len(found) <= 1


# --- anything at all ---

_VALUES = st.one_of(
    st.sampled_from([b"0", b"2", b"02", b"2, 2", b"2,3", b"+2", b"2 ", b"999999999999", b""]),
    st.binary(max_size=6),
)
_CODINGS = st.one_of(
    st.sampled_from(
        [b"chunked", b"Chunked", b"chunked ", b"gzip", b"identity", b"chunked,chunked"]
    ),
    st.binary(max_size=10),
)
_FIELDS = st.one_of(
    st.builds(lambda value: b"Content-Length: " + value, _VALUES),
    st.builds(lambda value: b"Transfer-Encoding: " + value, _CODINGS),
    st.sampled_from(
        [b"Connection: close", b"Connection: keep-alive", b"Expect: 100-continue", b"Host: other",
         b"Content-Encoding: gzip", b"Content-Type: application/json", b"X: y", b"\tfolded: x"]
    ),
    st.binary(max_size=30),
)  # fmt: skip
_INSIDE = st.sampled_from([b"hi", b"", HIDDEN, b"0\r\n\r\n" + HIDDEN, b"\r\n" + HIDDEN])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Fields that frame a body, rightly or not, and the body."""
    body = draw(_INSIDE)
    match draw(st.integers(0, 3)):
        case 0:
            return [b"Content-Length: %d" % len(body)], body
        case 1:
            pieces = draw(st.lists(_INSIDE.filter(bool), max_size=3))
            return [CHUNKED], in_chunks(*pieces)
        case 2:
            size = draw(st.sampled_from([b"0", b"2", b"2;x=y", b"002", b"0x2", b"-2", b"ffffff"]))
            return [CHUNKED], size + b"\r\n" + body + b"\r\n0\r\n\r\n"
        case _:
            return draw(st.lists(_FIELDS, max_size=2)), body


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests one after the other, some of them spoilt."""
    data = b""
    for name in "abc"[: draw(st.integers(1, 3))]:
        framing, body = draw(bodies())
        more = draw(st.lists(_FIELDS, max_size=2)) if draw(st.booleans()) else []
        version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
        one = posted(name, body, *draw(st.permutations(framing + more)), version=version)
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(one)))
            one = one[:at] + draw(st.binary(max_size=3)) + one[at + draw(st.integers(0, 2)) :]
        data += one
    return data


def test_no_body_is_ever_taken_for_a_request(victim: Victim, io_loop: IOLoop) -> None:
    @settings(max_examples=250)
    @given(
        data=streams(),
        cuts=st.lists(st.integers(0, 600), max_size=3),
        half_close=st.booleans(),
    )
    @example(data=sized("a") + sized("b"), cuts=[5, 100], half_close=True)
    # The first ends the connection, and the second has a refusal for nobody.
    @example(data=sized("a")[1:] + sized("b").replace(b" /", b" "), cuts=[], half_close=False)
    def attempt(data: bytes, cuts: list[int], half_close: bool) -> None:
        _, channels = io_loop.asyncio_loop.run_until_complete(
            victim.send(data + LAST, cuts=cuts, half_close=half_close)
        )
        certain = {
            found[1]
            for one in whole_requests(data + LAST)
            if one.method == "POST" and (found := re.fullmatch(r"/notify/@{6}(\w+)", one.target))
        }
        assert set(channels) <= certain

    attempt()
