from __future__ import annotations

import asyncio
from collections.abc import Iterator

import hiredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.brokers.redis.link import Link
from notifier.brokers.redis.topology import Shard
from tests.handloop import HandLoop


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Bench:
    """A link, and what it tells."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.transport = FakeTransport()
        self.link = Link(
            on_message=lambda *words: self.told.append(("message", *words)),
            on_confirmed=lambda name: self.told.append(("confirmed", name)),
            on_ended=lambda name: self.told.append(("ended", name)),
            on_refused=lambda *words: self.told.append(("refused", *words)),
        )
        self.link.connection_made(self.transport)


@pytest.fixture(scope="module")
def loop() -> Iterator[HandLoop]:
    loop = HandLoop()
    loop.start()
    yield loop
    loop.stop()


@pytest.fixture
def bench(loop: HandLoop) -> Bench:
    return Bench()


def reply(*words: bytes | int) -> bytes:
    parts = [
        b":%d\r\n" % w if isinstance(w, int) else b"$%d\r\n%s\r\n" % (len(w), w) for w in words
    ]
    return b"*%d\r\n" % len(words) + b"".join(parts)


WIRE = b"".join(
    [
        reply(b"subscribe", b"bell", 1),
        reply(b"message", b"bell", b"\r\n*3"),
        reply(b"psubscribe", b"b*", 2),
        reply(b"pmessage", b"b*", b"bell", b"m"),
        reply(b"smessage", b"s", b""),
        reply(b"unsubscribe", b"bell", 1),
        reply(b"punsubscribe", b"b*", 0),
        reply(b"sunsubscribe", b"s", 0),
        b"-MOVED 1 127.0.0.1:7000\r\n",
    ]
)


@pytest.mark.parametrize("size", [1, 2, 7, len(WIRE)])
def test_messages_are_told_however_they_are_cut(bench: Bench, size: int) -> None:
    bench.link.subscribe("SUBSCRIBE", b"bell")
    bench.link.subscribe("PSUBSCRIBE", b"b*")
    bench.link.subscribe("SSUBSCRIBE", b"s2")
    for start in range(0, len(WIRE), size):
        bench.link.data_received(WIRE[start : start + size])
    assert bench.told == [
        ("confirmed", b"bell"),
        ("message", b"bell", b"bell", b"\r\n*3"),
        ("confirmed", b"b*"),
        ("message", b"b*", b"bell", b"m"),
        ("message", b"s", b"s", b""),
        ("ended", b"s"),
        ("refused", b"s2", "MOVED 1 127.0.0.1:7000"),
    ]
    assert not bench.transport.aborted


@given(data=st.lists(st.binary(max_size=30) | st.sampled_from([b"*1\r\n", b"$7\r\nmessage\r\n"])))
@example(data=[b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@example(data=[b"*1\r\n$7\r\nmessage\r\n"])
@example(data=[b"*3\r\n*0\r\n:1\r\n:1\r\n"])
@example(data=[b"*-1\r\n$-1\r\n*0\r\n+OK\r\n:1\r\n"])
def test_garbage_is_no_fault_of_ours(loop: HandLoop, data: list[bytes]) -> None:
    bench = Bench()
    for piece in data:
        if not bench.transport.aborted:
            bench.link.data_received(piece)


def test_what_is_no_redis_is_hung_up_on(bench: Bench) -> None:
    bench.link.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert bench.transport.aborted


def test_refusal_ends_the_link_and_is_kept(bench: Bench) -> None:
    bench.link.data_received(b"-NOPERM no access to the channel\r\n")
    assert bench.transport.aborted
    assert bench.link.refusal == "NOPERM no access to the channel"


def test_only_the_last_of_several_answers_counts(bench: Bench) -> None:
    bench.link.subscribe("SUBSCRIBE", b"bell")
    bench.link.unsubscribe("SUBSCRIBE", b"bell")
    bench.link.subscribe("SUBSCRIBE", b"bell")
    bench.link.subscribe("SUBSCRIBE", b"other")
    bench.link.data_received(reply(b"subscribe", b"bell", 1))
    bench.link.data_received(reply(b"unsubscribe", b"bell", 0))
    assert bench.told == []
    bench.link.data_received(b"-NOPERM no\r\n" + reply(b"subscribe", b"other", 1))
    assert bench.told == [("refused", b"bell", "NOPERM no"), ("confirmed", b"other")]
    assert not bench.transport.aborted


def test_questions_are_answered_in_their_order_or_fail_with_the_link(
    bench: Bench, loop: HandLoop
) -> None:
    first, second, third = (loop.create_task(bench.link.ask("ASK", str(n))) for n in range(3))
    loop.run()
    assert bench.transport.sent == [hiredis.pack_command(("ASK", str(n))) for n in range(3)]
    bench.link.data_received(b"+one\r\n-ERR two\r\n")
    bench.link.connection_lost(None)
    loop.run()
    assert first.result() == b"one"
    with pytest.raises(ConnectionRefusedError, match="ERR two"):
        second.result()
    with pytest.raises(ConnectionResetError, match="hung up"):
        third.result()
    late = loop.create_task(bench.link.ask("ASK"))
    loop.run()
    with pytest.raises(ConnectionResetError, match="hung up"):
        late.result()


def test_shard_is_named_by_its_address() -> None:
    assert (Shard("h", 1).id, Shard("/r.sock", 0).id) == ("h:1", "/r.sock")
