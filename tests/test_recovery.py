"""``recover`` against a log that is nothing but a list."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.notification import Gap, Position, Publication
from notifier.recovery import Extent, Recovery, recover
from notifier.wire.resume import After, All, Last, Latest, Since, Time

EPOCH = "e"


@dataclass(frozen=True)
class Log:
    """All that was ever published: (time, expiry), the first with offset 1.

    ``trimmed`` of them are lost. ``swept``: what expired before then has been removed.
    """

    entries: list[tuple[int, int | None]]
    trimmed: int
    swept: int
    now_ms: int

    def publication(self, offset: int) -> Publication:
        time_ms, expires_ms = self.entries[offset - 1]
        return Publication(
            "a", Position(EPOCH, offset), f"n{offset}", time_ms, b"", expires_ms=expires_ms
        )

    @property
    def head(self) -> int:
        return len(self.entries)

    def extent(self) -> Extent:
        kept = [self.publication(n) for n in range(self.trimmed + 1, self.head + 1)]
        floor_time = self.entries[self.trimmed - 1][0] if self.trimmed else 0
        return Extent(
            "a",
            EPOCH,
            self.trimmed,
            floor_time,
            self.head,
            [p for p in kept if not p.expired(self.swept)],
        )

    def living(self, after: int) -> list[int]:
        """Offsets after one that a reader can still be given."""
        return [
            n
            for n in range(max(after, self.trimmed) + 1, self.head + 1)
            if not self.publication(n).expired(self.now_ms)
        ]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    times = sorted(draw(st.lists(st.integers(1, 100), max_size=12)))
    entries = [(t, draw(st.none() | st.integers(t + 1, 140))) for t in times]
    now_ms = draw(st.integers(times[-1] if times else 0, 150))
    return Log(
        entries, draw(st.integers(0, len(entries))), draw(st.integers(0, now_ms)), now_ms
    )  # fmt: skip


def ask(log: Log, since: Since) -> Recovery:
    recovery = recover(since, log.extent(), now_ms=log.now_ms)
    assert recovery.after.epoch == EPOCH
    return recovery


def check_gap(log: Log, recovery: Recovery, *, after: Position | None) -> None:
    """The gap is told truthfully: it begins where asked, and ends at the next that is delivered."""
    assert recovery.gap is not None
    delivered = log.living(recovery.after.offset)
    following = delivered[0] if delivered else log.head + 1
    assert recovery.gap == Gap("a", after, Position(EPOCH, following))


@given(logs())
def test_latest_is_nothing_and_all_is_everything_without_a_gap(log: Log) -> None:
    assert ask(log, Latest()) == Recovery(Position(EPOCH, log.head))
    everything = ask(log, All())
    assert everything.gap is None
    assert log.living(everything.after.offset) == log.living(0)


@given(logs(), st.integers(0, 15))
def test_after_a_position_all_follows_or_a_gap_is_told(log: Log, offset: int) -> None:
    position = Position(EPOCH, offset)
    recovery = ask(log, After(position))
    at_hand = log.trimmed <= offset <= log.head
    assert (recovery.gap is None) == at_hand
    if at_hand:
        assert recovery.after == position
    else:
        check_gap(log, recovery, after=position)
    if offset <= log.head:
        assert log.living(recovery.after.offset) == log.living(offset)
    else:
        assert log.living(recovery.after.offset) == []


@given(logs(), st.integers(0, 15))
def test_position_of_another_epoch_is_a_gap_before_all_there_is(log: Log, offset: int) -> None:
    position = Position("other", offset)
    recovery = ask(log, After(position))
    check_gap(log, recovery, after=position)
    assert log.living(recovery.after.offset) == log.living(0)


@given(logs(), st.data())
def test_from_a_time_all_that_was_published_then_or_later_follows(
    log: Log, data: st.DataObject
) -> None:
    # The times themselves are where an off-by-one would show.
    times = [time_ms for time_ms, _ in log.entries] or [0]
    time_ms = data.draw(st.sampled_from(times) | st.integers(-10, 160))
    recovery = ask(log, Time(time_ms))
    wanted = [n for n in range(1, log.head + 1) if log.entries[n - 1][0] >= time_ms]
    lost = [n for n in wanted if n <= log.trimmed]
    assert (recovery.gap is None) == (not lost)
    if lost:
        check_gap(log, recovery, after=None)
    assert log.living(recovery.after.offset) == [n for n in log.living(0) if n in wanted]


@given(logs(), st.integers(1, 15))
def test_last_few_follow_or_a_gap_is_told(log: Log, count: int) -> None:
    recovery = ask(log, Last(count))
    living = log.living(0)
    assert log.living(recovery.after.offset) == living[-count:]
    # Fewer than asked for is a gap only if there were more once.
    assert (recovery.gap is None) == (len(living) >= count or log.trimmed == 0)
    if recovery.gap is not None:
        check_gap(log, recovery, after=None)


@given(logs(), st.integers(0, 15))
def test_who_reads_on_after_a_gap_reads_everything_once(log: Log, offset: int) -> None:
    first = ask(log, After(Position(EPOCH, offset)))
    assert ask(log, After(first.after)) == Recovery(first.after)
    if first.gap is not None:
        # Where the gap was told to end is as good a place to go on from.
        again = ask(log, After(first.gap.position))
        assert again.gap is None
        assert log.living(again.after.offset) == log.living(first.after.offset)


@pytest.mark.parametrize("since", [Latest(), All(), Time(0), Last(5), After(Position(EPOCH, 0))])
def test_channel_without_publications_has_no_gap(since: Since) -> None:
    empty = Extent("a", EPOCH, 0, 0, 0, [])
    assert recover(since, empty, now_ms=0) == Recovery(Position(EPOCH, 0))
