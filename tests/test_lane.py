from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from notifier.counts import Traffic
from notifier.lane import STRIDE, Lane, SharedLane, TailoredLane
from notifier.subscription import Subscription
from tests.frames import AS_IS, items

FRAMES = [b"one", b"two"]
DATA = b"onetwo"
NEVER = float("inf")


class Reader:
    """A subscription as a lane sees it: a ``send`` and a slot."""

    def __init__(self, *answers: int | OSError) -> None:
        self.got: list[bytes] = []
        self.slot = -1
        self._answers = list(answers)

    def send(self, data: bytes) -> int:
        answer = self._answers.pop(0) if self._answers else len(data)
        if isinstance(answer, OSError):
            raise answer
        self.got.append(data if answer == len(data) else data[:answer])
        return answer


class Watched(SharedLane):
    """A lane that keeps what it tells."""

    def __init__(self) -> None:
        self.traffic = Traffic("websocket")
        super().__init__(AS_IS, traffic=self.traffic, on_short=self._cut, on_error=self._gone)
        self.short: list[tuple[Any, int]] = []
        self.broken: list[Any] = []
        self.on_short: Callable[[], None] = lambda: None

    def _cut(self, subscription: Subscription, frames: list[bytes], sent: int) -> None:
        assert frames == FRAMES
        self.short.append((subscription, sent))
        self.on_short()

    def _gone(self, subscription: Subscription) -> None:
        self.broken.append(subscription)


def lane_of(*readers: Reader) -> Watched:
    lane = Watched()
    for reader in readers:
        join(lane, reader)
    return lane


def join(lane: Lane, reader: Reader) -> None:
    lane.join(cast(Subscription, reader))


def leave(lane: Lane, reader: Reader) -> bool:
    return lane.leave(cast(Subscription, reader))


class Walk:
    """Walks a lane; the clock ticks at every look."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.looks = 0

    def __call__(self, deadline: float = NEVER) -> bool:
        def clock() -> float:
            self.looks += 1
            return self.looks

        return self.lane.walk(deadline, clock)


def test_pass_sends_everyone_the_joined_frames_once() -> None:
    readers = [Reader() for _ in range(5)]
    lane = lane_of(*readers)
    lane.begin(items(FRAMES))
    assert Walk(lane)()
    assert Walk(lane)()  # there is nothing left of it
    assert [reader.got for reader in readers] == [[DATA]] * 5
    assert lane.count == 5


def test_single_frame_is_not_copied() -> None:
    reader = Reader()
    lane = lane_of(reader)
    frame = b"x" * 100
    lane.begin(items([frame]))
    assert Walk(lane)()
    assert reader.got[0] is frame


def test_who_takes_less_is_told_of_with_what_it_took() -> None:
    readers = [Reader(), Reader(4), Reader(0), Reader(BlockingIOError()), Reader()]
    lane = lane_of(*readers)
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert walk()
    assert lane.short == [(readers[1], 4), (readers[2], 0), (readers[3], 0)]
    assert [readers[n].got for n in (0, 4)] == [[DATA], [DATA]]


def test_one_that_is_gone_disturbs_no_other() -> None:
    readers = [Reader(), Reader(BrokenPipeError()), Reader(ConnectionResetError()), Reader()]
    lane = lane_of(*readers)
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert walk()
    assert lane.broken == readers[1:3]
    assert lane.short == []
    assert readers[3].got == [DATA]
    assert (lane.traffic.publications, lane.traffic.bytes) == (2 * len(FRAMES), 2 * len(DATA))


def test_walk_stops_at_the_deadline_and_goes_on_where_it_stopped() -> None:
    readers = [Reader() for _ in range(3 * STRIDE + 1)]
    lane = lane_of(*readers)
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    for strides in (1, 2, 3):
        assert not walk(deadline=0)
        assert sum(len(reader.got) for reader in readers) == strides * STRIDE
    assert walk(deadline=0)
    assert [reader.got for reader in readers] == [[DATA]] * len(readers)
    assert walk.looks == 3  # once a stride, and not when there is nothing more to do


def test_who_joins_a_pass_under_way_is_not_served_by_it() -> None:
    lane = lane_of(*(Reader() for _ in range(STRIDE + 1)))
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert not walk(deadline=0)
    late = Reader()
    join(lane, late)
    assert walk()
    assert late.got == []
    lane.begin(items(FRAMES))
    assert walk()
    assert late.got == [DATA]


def test_leaving_tells_whether_the_pass_would_still_have_served() -> None:
    readers = [Reader() for _ in range(2 * STRIDE)]
    lane = lane_of(*readers)
    assert not leave(lane, readers[1])
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert not walk(deadline=0)
    late = Reader()
    join(lane, late)
    assert not leave(lane, readers[0])
    assert leave(lane, readers[STRIDE])
    assert not leave(lane, late)
    assert walk()
    assert readers[STRIDE].got == []
    assert readers[STRIDE + 1].got == [DATA]
    assert not leave(lane, readers[-1])
    assert lane.count == len(lane.members()) == 2 * STRIDE - 4


def test_one_that_leaves_from_within_the_pass_is_told_apart_by_its_slot() -> None:
    """What one short send sets off may end other subscriptions of the same stride."""
    readers = [Reader(), Reader(), Reader(0), Reader(), Reader()]
    lane = lane_of(*readers)
    unserved: list[bool] = []
    walk = Walk(lane)
    # One that was served, the one being served, one to be served.
    lane.on_short = lambda: unserved.extend(leave(lane, readers[n]) for n in (0, 2, 3))
    lane.begin(items(FRAMES))
    assert walk()
    assert unserved == [False, False, True]
    assert [len(reader.got) for reader in readers] == [1, 1, 1, 0, 1]


def test_slots_of_those_who_left_are_given_back() -> None:
    stays = Reader()
    lane = lane_of(stays)
    for _ in range(10_000):
        reader = Reader()
        join(lane, reader)
        leave(lane, reader)
    lane.begin(items(FRAMES))
    assert lane.stop < 200
    assert Walk(lane)()
    assert stays.got == [DATA]


def test_slots_stay_where_they_are_while_a_pass_is_under_way() -> None:
    readers = [Reader() for _ in range(STRIDE + 200)]
    lane = lane_of(*readers)
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert not walk(deadline=0)
    # So many leave that the next to join would have the ranks closed.
    for reader in readers[1 : STRIDE + 190]:
        leave(lane, reader)
    late = [Reader() for _ in range(5)]
    for reader in late:
        join(lane, reader)
    assert walk()
    assert [len(reader.got) for reader in readers[STRIDE + 190 :]] == [1] * 10
    assert [reader.got for reader in late] == [[]] * 5
    assert len(readers[0].got) == 1


@given(st.lists(st.sampled_from(["join", "leave", "begin", "slice", "finish"]), max_size=60))
def test_everyone_there_when_a_pass_began_is_served_once_unless_it_left(events: list[str]) -> None:
    lane = lane_of()
    here: list[Reader] = []
    owed: dict[Reader, int] = {}
    under_way = False
    for n, event in enumerate(events):
        if event == "join":
            for _ in range(7):
                reader = Reader()
                join(lane, reader)
                here.append(reader)
                owed[reader] = 0
        elif event == "leave":
            for _ in range(min(5, len(here))):
                reader = here.pop(n % len(here))
                if leave(lane, reader):
                    owed[reader] -= 1
        elif event == "begin" and not under_way and lane.count:
            lane.begin(items(FRAMES))
            under_way = True
            for reader in here:
                owed[reader] += 1
        elif event in ("slice", "finish") and under_way:
            under_way = not Walk(lane)(deadline=0 if event == "slice" else NEVER)
        assert lane.count == len(here)
        assert set(cast(list[Any], lane.members())) == set(here)
    Walk(lane)()
    assert {reader: len(reader.got) for reader in owed} == owed
    sent = sum(owed.values())
    assert lane.traffic.publications == sent * len(FRAMES)
    assert lane.traffic.bytes == sent * len(DATA)


def test_a_tailored_lane_gives_everyone_its_turn_and_stops_at_the_deadline() -> None:
    served: list[Any] = []
    lane = TailoredLane(served.append)
    readers = [Reader() for _ in range(4)]
    for reader in readers:
        join(lane, reader)
    lane.begin(items(FRAMES))
    walk = Walk(lane)
    assert not walk(deadline=0)
    assert served == readers[:1]
    late = Reader()
    join(lane, late)
    assert not leave(lane, readers[0])
    assert leave(lane, readers[2])
    assert lane.awaits(cast(Subscription, readers[3]))
    assert walk()
    assert served == [readers[0], readers[1], readers[3]]
