from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.notification import Gap, Notification, Position, Publication
from notifier.wire.deflate import deflate, deflating, inflate, longest, negotiate
from notifier.wire.messages import item
from notifier.wire.prepared import Prepared
from notifier.wire.raw import raw
from notifier.wire.websocket import NATIVE, Opcode, frame, native
from tests.frames import FrameParser, deflated

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
WITH_BITS = PLAIN + "; server_max_window_bits=15"

payloads = st.one_of(
    st.binary(max_size=2000),
    st.text(max_size=500).map(str.encode),
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 5000)).map(lambda p: p[0] * p[1]),
)


# --- the handshake ---


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", PLAIN),
        ("permessage-deflate; client_max_window_bits", PLAIN),  # Chromium, ws
        (" permessage-deflate ;\tclient_max_window_bits = 10 ", PLAIN),
        ('permessage-deflate; client_max_window_bits="9"', PLAIN),
        (PLAIN, PLAIN),
        ("permessage-deflate; server_max_window_bits=15", WITH_BITS),
        ('permessage-deflate;server_max_window_bits="\\15";client_max_window_bits', WITH_BITS),
        # The first that will do; others are passed over.
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", PLAIN),
        ("x-webkit-deflate-frame, permessage-deflate;server_max_window_bits=15", WITH_BITS),
        ('mux; max="4, permessage-deflate; a=\\""; b, permessage-deflate', PLAIN),
        (", ,permessage-deflate, ", PLAIN),
        ('permessage-deflate; server_max_window_bits="15, permessage-deflate', PLAIN),
        ("permessage-deflate; =, permessage-deflate", PLAIN),
        # Each of these declines all there is.
        ("", None),
        (",", None),
        ("x-webkit-deflate-frame", None),
        ("Permessage-Deflate2", None),
        ('mux; max="permessage-deflate"', None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=", None),
        ('permessage-deflate; server_max_window_bits=""', None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=14", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=015", None),
        ("permessage-deflate; server_max_window_bits=+15", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ('permessage-deflate; client_max_window_bits=""', None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ('permessage-deflate; client_no_context_takeover=""', None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; client_max_window_bits=9; client_max_window_bits=9", None),
        ("permessage-deflate; level=9", None),
        ("permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER", None),
        ("permessage-deflate;", None),
        ("permessage-deflate; ;", None),
        ("permessage-deflate client_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=10 11", None),
        ('permessage-deflate; client_max_window_bits="10', None),
        ('permessage-deflate; client_max_window_bits="10\\', None),
        ('permessage-deflate; client_max_window_bits=10"', None),
        ("permessage-deflate; größe", None),
        ("x," * 2000 + "permessage-deflate", None),  # nobody offers so much
    ],
)
def test_the_first_offer_that_will_do_is_answered(offers: str, answer: str | None) -> None:
    assert negotiate(offers) == answer


@given(
    st.lists(
        st.sampled_from(
            [
                *("permessage-deflate", "server_max_window_bits", "client_no_context_takeover"),
                *("15", "x", "ä", ",", ";", "=", '"', "\\", " ", "\t", "\0", "\n"),
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_no_offer_is_worth_an_exception(offers: str) -> None:
    assert negotiate(offers) in (None, PLAIN, WITH_BITS)


# --- messages ---


@given(payloads)
@example(b"")
@example(bytes(100_000))
@example(random.Random(1).randbytes(100_000))
def test_what_was_deflated_is_inflated_to_itself(payload: bytes) -> None:
    data = deflate(payload)
    assert inflate(data, len(payload)) == payload
    assert inflate(deflated(payload), len(payload)) == payload
    assert zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff") == payload
    assert len(data) <= longest(len(payload))


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        # The examples of RFC 7692 §7.2.3.
        ("f248cdc9c90700", b"Hello"),
        ("000500faff48656c6c6f00", b"Hello"),
        ("f348cdc9c9070000", b"Hello"),  # a last block
        ("f248050000 00ffffcac9c90700", b"Hello"),  # two blocks
        ("00", b""),
        # Two flushes, the second of nothing (§7.2.3.6).
        ("f248cdc9c907000000ffff00", b"Hello"),
    ],
)
def test_what_others_deflate_is_inflated(data: str, payload: bytes) -> None:
    assert inflate(bytes.fromhex(data), 100) == payload


@pytest.mark.parametrize("strategy", [zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 1, 100, 70_000])
def test_whatever_a_client_deflates_with_a_message_of_the_limit_is_no_longer_than_longest(
    size: int, level: int, strategy: int
) -> None:
    high = bytes(random.Random(size).choices(range(144, 256), k=size))
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15, 1, strategy)
    data = (compressor.compress(high) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(data) <= longest(size)
    assert inflate(data, size) == high


@given(st.integers(0, 300), st.integers(0, 300))
def test_no_more_is_inflated_than_shows_that_it_is_too_much(size: int, limit: int) -> None:
    assert len(inflate(deflate(b"x" * size), limit)) == min(size, limit + 1)


def test_a_bomb_costs_what_the_limit_allows() -> None:
    bomb = deflated(bytes(50_000_000))
    assert len(bomb) < 50_000
    assert len(inflate(bomb, 1000)) == 1001


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_message_that_was_cut_is_no_message(payload: bytes, data: st.DataObject) -> None:
    whole = deflate(payload)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        came = inflate(whole[:cut], 1000)
    except ValueError:
        return
    # A cut at the very end of a block can't be told from a message that ends there.
    assert payload.startswith(came)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xff\xff")
@example(bytes.fromhex("f348cdc9c9070000") * 2)  # something after the last block
def test_what_is_not_deflated_is_a_value_error_or_by_chance_it_is(data: bytes) -> None:
    try:
        assert len(inflate(data, 1000)) <= 1001
    except ValueError:
        assert data != b"\0"


# --- formats ---


def publication(message: str) -> Publication:
    draft = Notification.parse({"message": message}).draft("a", id="i", now_ms=0)
    return Publication("a", Position("e", 1), "i", 0, draft.body)


def read(data: bytes) -> tuple[int, bytes, bool]:
    """Opcode and payload of a frame, and whether it was compressed."""
    parser = FrameParser()
    parser.inflates = True
    ((opcode, payload),) = parser.feed(data)
    return opcode, payload, bool(parser.compressed)


@given(st.text(min_size=1, max_size=2000), st.integers(0, 600))
def test_a_deflated_publication_is_inflated_to_the_plain_one(text: str, min_bytes: int) -> None:
    format = native("deflated", deflating(min_bytes))
    shown = publication(text)
    plain = item(shown)
    encoded = format.encode(shown)
    assert read(encoded) == (Opcode.TEXT, plain, len(encoded) < len(frame(plain)))
    if len(plain) < min_bytes:
        assert encoded == NATIVE.encode(shown)


def test_the_limit_is_of_the_payload_and_what_grows_goes_as_it_is() -> None:
    framing = deflating(100)
    assert framing(b"x" * 99, Opcode.TEXT) == frame(b"x" * 99)
    assert read(framing(b"x" * 100, Opcode.TEXT)) == (Opcode.TEXT, b"x" * 100, True)
    noise = random.Random(1).randbytes(500)
    assert framing(noise, Opcode.BINARY) == frame(noise, Opcode.BINARY)


@pytest.mark.parametrize("sent", ["é" * 1000, bytes(1000), b"", ""])
def test_raw_payloads_keep_their_type(sent: str | bytes) -> None:
    format = raw("deflated", deflating(100))
    draft = Notification.of_payload(sent).draft("a", id="i", now_ms=0)
    data = sent.encode() if isinstance(sent, str) else sent
    opcode = Opcode.TEXT if isinstance(sent, str) else Opcode.BINARY
    encoded = format.encode(Publication("a", None, "i", 0, draft.body))
    assert read(encoded) == (opcode, data, bool(data))


def test_everyone_gets_the_very_same_bytes() -> None:
    format = native("deflated", deflating(100))
    prepared = Prepared(publication("x" * 1000))
    assert prepared.encoded(format) is prepared.encoded(format)
    assert prepared.encoded(format) != prepared.encoded(NATIVE)
    gap = Gap("a", None, Position("e", 7))
    assert read(Prepared(gap).encoded(format))[:2] == (Opcode.TEXT, item(gap))
