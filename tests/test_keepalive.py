"""The sweep, on a clock of its own."""

from __future__ import annotations

from notifier.keepalive import SWEEP_PEERS, Keepalive


class FakeSink:
    def __init__(self) -> None:
        self.blocked = False
        self.bytes_unread = 0

    def unread(self) -> int:
        return self.bytes_unread


class FakePeer:
    def __init__(self) -> None:
        self.heard = False
        self.sink = FakeSink()
        self.asked = 0
        self.died_of: str | None = None

    def ask(self) -> None:
        self.asked += 1

    def dead(self, reason: str) -> None:
        assert self.died_of is None, "dead once"
        self.died_of = reason


def keepalive() -> Keepalive:
    return Keepalive(ping_interval=20.0, ping_timeout=10.0, stalled_seconds=30.0)


def test_silent_peer_is_asked_after_the_interval_not_before() -> None:
    sweeper, peer = keepalive(), FakePeer()
    sweeper.add(peer, 0.0)
    sweeper.sweep(19.9)
    assert peer.asked == 0
    sweeper.sweep(20.0)
    assert peer.asked == 1
    sweeper.sweep(25.0)
    assert peer.asked == 1, "it has time to answer"


def test_peer_that_answers_is_asked_every_interval() -> None:
    sweeper, peer = keepalive(), FakePeer()
    sweeper.add(peer, 0.0)
    for asked, second in enumerate(range(20, 200, 20), start=1):
        sweeper.sweep(float(second))
        assert peer.asked == asked and not peer.heard
        peer.heard = True
        sweeper.sweep(second + 10.0)
        sweeper.sweep(second + 19.9)
        assert peer.died_of is None and peer.asked == asked


def test_answer_may_take_longer_than_the_interval() -> None:
    sweeper, peer = Keepalive(ping_interval=10.0, ping_timeout=25.0, stalled_seconds=9), FakePeer()
    sweeper.add(peer, 0.0)
    for second in (10.0, 20.0, 30.0, 34.9):
        sweeper.sweep(second)
    assert peer.asked == 1 and peer.died_of is None
    peer.heard = True
    sweeper.sweep(35.0)
    assert peer.died_of is None
    sweeper.sweep(40.0)
    assert peer.asked == 2
    sweeper.sweep(65.0)
    assert peer.died_of == "silent"


def test_peer_that_does_not_answer_is_let_go_once() -> None:
    sweeper, peer = keepalive(), FakePeer()
    sweeper.add(peer, 0.0)
    for second in (20.0, 29.9):
        sweeper.sweep(second)
        assert peer.died_of is None
    sweeper.sweep(30.0)
    sweeper.sweep(60.0)
    assert peer.died_of == "silent"


def test_blocked_peer_is_not_asked_what_it_would_not_see() -> None:
    sweeper, peer = keepalive(), FakePeer()
    sweeper.add(peer, 0.0)
    peer.sink.blocked = True
    sweeper.sweep(20.0)
    assert peer.asked == 0
    peer.sink.blocked = False
    sweeper.sweep(40.0)
    assert peer.asked == 1
    peer.sink.blocked = True
    sweeper.sweep(50.0)
    assert peer.died_of is None, "it may not have seen the ping yet"


def test_stalled_peer_is_let_go_when_no_byte_was_taken_for_so_long() -> None:
    sweeper, peer = keepalive(), FakePeer()
    peer.sink.bytes_unread = 1000
    sweeper.blocked(peer, 0.0)
    sweeper.sweep(29.9)
    assert peer.died_of is None
    peer.sink.bytes_unread = 999
    sweeper.sweep(29.95)
    sweeper.sweep(59.9)
    assert peer.died_of is None, "it took a byte"
    sweeper.sweep(60.0)
    assert peer.died_of == "stalled"


def test_what_is_written_meanwhile_is_no_progress() -> None:
    sweeper, peer = keepalive(), FakePeer()
    peer.sink.bytes_unread = 1000
    sweeper.blocked(peer, 0.0)
    peer.sink.bytes_unread = 1100
    sweeper.sweep(10.0)
    peer.sink.bytes_unread = 1050
    sweeper.sweep(30.0)
    assert peer.died_of == "stalled"


def test_peer_that_drained_or_left_is_watched_no_more() -> None:
    sweeper, drained, left = keepalive(), FakePeer(), FakePeer()
    for peer in (drained, left):
        peer.sink.bytes_unread = 1000
        sweeper.add(peer, 0.0)
        sweeper.blocked(peer, 0.0)
    sweeper.drained(drained)
    sweeper.remove(left)
    drained.heard = True
    sweeper.sweep(30.0)
    assert drained.died_of is None and left.died_of is None and left.asked == 0


def test_sweep_is_bounded_and_says_when_it_left_some() -> None:
    sweeper = keepalive()
    peers = [FakePeer() for _ in range(SWEEP_PEERS + 10)]
    for peer in peers:
        sweeper.add(peer, 0.0)
    assert sweeper.sweep(20.0), "some are left"
    assert sum(peer.asked for peer in peers) == SWEEP_PEERS
    assert not sweeper.sweep(20.0)
    assert [peer.asked for peer in peers] == [1] * len(peers)
    assert sweeper.sweep(31.0), "some are left that did not answer"
    assert not sweeper.sweep(31.0)
    assert all(peer.died_of for peer in peers)


def test_peer_that_takes_bytes_is_alive_though_the_ping_waits_behind_them() -> None:
    sweeper, peer = keepalive(), FakePeer()
    sweeper.add(peer, 0.0)
    peer.sink.bytes_unread = 3000
    sweeper.sweep(20.0)
    for second, unread in ((30.0, 2000), (40.0, 1000)):
        peer.sink.bytes_unread = unread
        sweeper.sweep(second)
        assert peer.died_of is None
    sweeper.sweep(50.0)
    assert peer.died_of == "silent", "it takes nothing any more"
