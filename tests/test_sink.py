"""The one door out of a connection, with a kernel that takes what it likes."""

from __future__ import annotations

import pytest

from notifier.counts import Traffic
from notifier.sink import Sink
from notifier.wire.websocket import Opcode, frame
from tests.fakestream import FakeStream
from tests.frames import AS_IS, items
from tests.handloop import HandLoop

CLOSE = frame(b"\x03\xe8", Opcode.CLOSE)


class Outlet:
    """A sink, and what it told."""

    def __init__(self, *, capacity: int = 100, max_pending_bytes: int = 1000) -> None:
        self.told: list[str] = []
        self.stream = FakeStream(capacity=capacity)
        self.sink = Sink(
            self.stream,
            AS_IS,
            max_pending_bytes=max_pending_bytes,
            on_blocked=lambda _: self.told.append("blocked"),
            on_drained=lambda _: self.told.append("drained"),
            on_finished=lambda _: self.told.append("finished"),
            traffic=Traffic("websocket"),
        )


def read_all(loop: HandLoop, stream: FakeStream) -> bytes:
    received = b""
    while data := stream.read(30):
        received += data
        loop.run()
    return received


def test_what_fits_is_sent_and_nothing_is_told(loop: HandLoop) -> None:
    outlet = Outlet()
    assert outlet.sink.push(items([frame(b"one"), frame(b"two")])) == 2
    assert outlet.stream.read(100) == frame(b"one") + frame(b"two")
    assert outlet.told == [] and not outlet.sink.blocked


def test_frame_that_is_cut_counts_as_taken_and_its_rest_alone_is_kept(loop: HandLoop) -> None:
    outlet = Outlet(capacity=50)
    frames = [frame(b"a" * 30), frame(b"b" * 30), frame(b"c" * 30)]
    assert outlet.sink.push(items(frames)) == 2
    assert outlet.told == ["blocked"]
    assert outlet.stream.pending() == 64 - 50
    assert read_all(loop, outlet.stream) == frames[0] + frames[1]
    assert outlet.told == ["blocked", "drained"] and not outlet.sink.blocked


def test_frame_of_which_nothing_went_is_handed_over_whole(loop: HandLoop) -> None:
    outlet = Outlet(capacity=32)
    frames = [frame(b"a" * 30), frame(b"b" * 30)]
    assert outlet.sink.push(items(frames[:1])) == 1
    assert outlet.sink.push(items(frames)) == 1
    assert outlet.stream.pending() == 32
    assert read_all(loop, outlet.stream) == frames[0] + frames[0]


def test_reply_waits_behind_the_cut_frame_never_inside_it(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20)
    outlet.sink.push(items([frame(b"a" * 30)]))
    outlet.sink.write(frame(b"reply"))
    outlet.sink.write(frame(b"", Opcode.PONG))
    expected = frame(b"a" * 30) + frame(b"reply") + frame(b"", Opcode.PONG)
    assert read_all(loop, outlet.stream) == expected
    assert outlet.told == ["blocked", "drained"], "told once, when the last has gone"


def test_sink_stays_blocked_until_the_last_write_has_gone(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20)
    outlet.sink.push(items([frame(b"a" * 30)]))
    outlet.stream.read(20)
    loop.step()  # the kernel has the rest of the frame; the sink does not know yet
    outlet.sink.write(frame(b"r" * 40))
    loop.run()
    assert outlet.sink.blocked and outlet.told == ["blocked"]
    read_all(loop, outlet.stream)
    assert not outlet.sink.blocked and outlet.told == ["blocked", "drained"]


def test_rest_that_goes_at_once_does_not_block(loop: HandLoop) -> None:
    outlet = Outlet()
    outlet.stream.bites.append(0)
    assert outlet.sink.push(items([frame(b"one"), frame(b"two")])) == 1
    assert not outlet.sink.blocked and outlet.told == []


def test_close_is_the_last_frame_and_ends_the_subscriptions(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20)
    outlet.sink.push(items([frame(b"a" * 30)]))
    outlet.sink.finish(CLOSE)
    assert outlet.told == ["blocked", "finished"]
    assert outlet.sink.write(frame(b"late")) is None
    assert read_all(loop, outlet.stream) == frame(b"a" * 30) + CLOSE
    assert outlet.told == ["blocked", "finished"], "a closed sink has nothing more to tell"


def test_replies_that_nobody_reads_end_the_connection(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20, max_pending_bytes=100)
    outlet.sink.push(items([frame(b"a" * 30)]))
    for _ in range(20):
        outlet.sink.write(frame(b"reply"))
    assert outlet.sink.closed and outlet.stream.closed


def test_large_publication_is_no_unread_reply(loop: HandLoop) -> None:
    """``max_pending_bytes`` is about replies: a slow reader of one large frame owes none."""
    outlet = Outlet(capacity=20, max_pending_bytes=100)
    outlet.sink.push(items([frame(b"a" * 500)]))
    outlet.sink.write(frame(b"pong", Opcode.PONG))
    assert not outlet.sink.closed
    assert read_all(loop, outlet.stream) == frame(b"a" * 500) + frame(b"pong", Opcode.PONG)


@pytest.mark.parametrize("broken_by", ["push", "write"])
def test_error_of_the_socket_ends_the_connection(loop: HandLoop, broken_by: str) -> None:
    outlet = Outlet()
    outlet.stream.broken = True
    if broken_by == "push":
        assert outlet.sink.push(items([frame(b"one")])) == 0
    else:
        outlet.sink.write(frame(b"one"))
    assert outlet.stream.closed
    outlet.sink.write(frame(b"two"))
    assert outlet.sink.closed


def test_loss_while_blocked_wakes_who_waits_and_does_not_drain(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20)
    outlet.sink.push(items([frame(b"a" * 30)]))
    waiting = loop.create_task(outlet.sink.drained())
    loop.run()
    assert not waiting.done()
    outlet.sink.abort()
    loop.run()
    assert waiting.done() and outlet.told == ["blocked"]


def test_who_waits_goes_on_when_all_has_gone(loop: HandLoop) -> None:
    outlet = Outlet(capacity=20)
    outlet.sink.write(frame(b"r" * 30))
    waiting = loop.create_task(outlet.sink.drained())
    loop.run()
    outlet.sink.write(frame(b"s" * 30))
    outlet.stream.read(20)
    loop.run()
    assert not waiting.done(), "a later write is pending"
    read_all(loop, outlet.stream)
    assert waiting.done()


def test_a_corked_sink_takes_no_publications_and_its_own_messages_still_leave(
    loop: HandLoop,
) -> None:
    outlet = Outlet(capacity=50)
    outlet.sink.cork()
    assert outlet.sink.blocked
    outlet.sink.write(frame(b"a" * 30))
    assert outlet.stream.read(100) == frame(b"a" * 30)
    outlet.sink.uncork()
    assert not outlet.sink.blocked and outlet.told == ["drained"]


def test_uncorked_while_something_is_pending_it_waits_for_that(loop: HandLoop) -> None:
    outlet = Outlet(capacity=50)
    outlet.sink.cork()
    outlet.sink.write(frame(b"a" * 100))
    outlet.sink.uncork()
    assert outlet.sink.blocked and outlet.told == ["blocked"]
    assert read_all(loop, outlet.stream) == frame(b"a" * 100)
    assert not outlet.sink.blocked and outlet.told == ["blocked", "drained"]


def test_what_leaves_while_it_is_corked_does_not_uncork_it(loop: HandLoop) -> None:
    outlet = Outlet(capacity=50)
    outlet.sink.cork()
    outlet.sink.write(frame(b"a" * 100))
    assert read_all(loop, outlet.stream) == frame(b"a" * 100)
    assert outlet.sink.blocked and outlet.told == []
