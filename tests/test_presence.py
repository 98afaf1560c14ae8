"""Who is on a channel, and what those who watch are told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.attendance import Attendance
from notifier.channels import Namespace, Namespaces, Pattern
from notifier.config import NamespaceSettings
from notifier.counts import Traffic
from notifier.errors import BrokerUnavailable, NoSuchChannel, PresenceOff
from notifier.members import Member
from notifier.presence import BREATH, COUNT_SECONDS, Presence
from notifier.sink import Sink
from notifier.wire.resume import All, Latest, Starts
from notifier.wire.websocket import NATIVE
from tests.fakestream import FakeStream
from tests.frames import FrameParser
from tests.handloop import HandLoop
from tests.nodebench import Bench, FakeConnection

MOST = 3


class Fellow:
    """A connection that may be on a channel."""

    def __init__(self, name: str, *, capacity: int = 1 << 20, max_pending: int = 1 << 20) -> None:
        self.name = name
        self.stream = FakeStream(capacity=capacity)
        self.sink = Sink(
            self.stream,
            NATIVE,
            traffic=Traffic("websocket"),
            max_pending_bytes=max_pending,
            on_blocked=lambda sink: None,
            on_drained=lambda sink: None,
            on_finished=lambda sink: None,
        )
        self._parser = FrameParser()

    def messages(self) -> list[dict[str, Any]]:
        """What it has got since last asked."""
        return [json.loads(f.payload) for f in self._parser.feed(self.stream.read(1 << 20))]

    def told(self) -> list[tuple[str, str, int]]:
        """In short: the event, who of it, and how many are there then."""
        return [short(message) for message in self.messages()]


def short(message: dict[str, Any]) -> tuple[str, str, int]:
    assert message["type"] == "presence"
    if message["event"] == "now":
        listed = message["members"]
        who = "many" if listed is None else " ".join(one["connection"] for one in listed)
    else:
        who = message["member"]["connection"] if "member" in message else ""
    return (message["event"], who, message["count"])


class Hall:
    """A presence on a loop that is turned by hand; all of it happens on one channel."""

    def __init__(self, most: int = MOST, *, alone: bool = True) -> None:
        self.loop = HandLoop()
        self.loop.start()
        self.alone = alone
        self.names: dict[Sink, str] = {}
        self.presence = Presence(
            Namespaces(Namespace(presence=True), {"dark": Namespace()}),
            max_members=most,
            member_of=lambda sink: Member(self.names[sink], "websocket", 1000, "here"),
            gather=self.gather,
            call_soon=self.loop.call_soon,
            call_later=self.loop.call_later,
        )

    def gather(self, channel: str) -> None:
        if self.alone:
            self.presence.gathered(channel, {})

    def enter(self, name: str, *, watching: bool = False, **more: Any) -> Fellow:
        fellow = Fellow(name, **more)
        self.names[fellow.sink] = name
        self.join(fellow, watching=watching)
        return fellow

    def join(self, fellow: Fellow, *, watching: bool = False) -> None:
        self.presence.join("a", fellow.sink)
        if watching:
            self.presence.watch("a", fellow.sink)

    def leave(self, fellow: Fellow) -> None:
        self.presence.leave("a", fellow.sink)

    def wait(self, seconds: float = COUNT_SECONDS) -> None:
        self.loop.advance(seconds)
        self.loop.run()


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    yield hall
    hall.loop.run()
    hall.loop.stop()


# --- few enough to be listed ---


def test_who_watches_is_told_who_is_there_then_of_each_who_joins_and_leaves(hall: Hall) -> None:
    early = hall.enter("early")
    watcher = hall.enter("watcher", watching=True)
    assert watcher.messages() == [
        {
            "type": "presence",
            "channel": "a",
            "event": "now",
            "count": 2,
            "members": [
                {
                    "connection": name,
                    "transport": "websocket",
                    "since": "1970-01-01T00:00:01.000Z",
                    "node": "here",
                }
                for name in ("early", "watcher")
            ],
        }
    ]
    late = hall.enter("late")
    assert watcher.messages() == [
        {
            "type": "presence",
            "channel": "a",
            "event": "join",
            "member": {
                "connection": "late",
                "transport": "websocket",
                "since": "1970-01-01T00:00:01.000Z",
                "node": "here",
            },
            "count": 3,
        }
    ]
    hall.leave(early)
    hall.leave(late)
    assert watcher.told() == [("leave", "early", 2), ("leave", "late", 1)]
    assert early.told() == late.told() == [], "they did not ask"
    hall.loop.run()
    assert hall.loop.idle, "all of it at once, and nothing is left to do"


def test_who_leaves_is_told_no_more_and_may_come_back(hall: Hall) -> None:
    first, second = hall.enter("first", watching=True), hall.enter("second", watching=True)
    assert second.told() == [("now", "first second", 2)]
    hall.leave(second)
    hall.leave(second)
    assert second.told() == []
    hall.join(second, watching=True)
    assert first.told() == [
        ("now", "first", 1),
        ("join", "second", 2),
        ("leave", "second", 1),
        ("join", "second", 2),
    ]
    assert second.told() == [("now", "first second", 2)]


def test_watching_twice_is_watching_once_and_may_end_before_the_membership(hall: Hall) -> None:
    watcher = hall.enter("watcher", watching=True)
    hall.presence.watch("a", watcher.sink)
    assert watcher.told() == [("now", "watcher", 1)]
    hall.presence.unwatch("a", watcher.sink)
    hall.enter("other")
    assert watcher.told() == []
    assert hall.presence.of("a").count == 2


def test_who_is_not_there_can_not_watch(hall: Hall) -> None:
    stranger = Fellow("stranger")
    hall.presence.watch("a", stranger.sink)
    hall.enter("somebody")
    hall.presence.watch("a", stranger.sink)
    hall.presence.unwatch("b", stranger.sink)
    assert stranger.told() == []


def test_channel_that_everybody_left_is_forgotten(hall: Hall) -> None:
    fellows = [hall.enter(str(number), watching=True) for number in range(MOST + 2)]
    for fellow in fellows:
        hall.leave(fellow)
    assert hall.presence._rosters == {}
    assert (hall.presence.of("a").count, hall.presence.of("a").listed) == (0, [])
    hall.wait(10 * COUNT_SECONDS)
    assert hall.loop.idle


def test_namespace_decides_whether_it_is_on(hall: Hall) -> None:
    hall.presence.check("a")
    with pytest.raises(PresenceOff) as refusal:
        hall.presence.check("dark:a")
    assert refusal.value.channel == "dark:a"
    assert hall.presence.is_on("a") and not hall.presence.is_on("dark:a")


# --- too many ---


def test_more_than_may_be_listed_are_counted_once_a_second(hall: Hall) -> None:
    watcher = hall.enter("watcher", watching=True)
    others = [hall.enter(str(number)) for number in range(MOST - 1)]
    assert len(watcher.told()) == MOST
    for number in range(50):
        others.append(hall.enter(str(number)))
    hall.leave(others.pop(0))
    assert watcher.told() == []
    hall.wait(COUNT_SECONDS / 2)
    assert watcher.told() == []
    hall.wait(COUNT_SECONDS / 2)
    assert watcher.messages() == [
        {"type": "presence", "channel": "a", "event": "count", "count": MOST + 49}
    ]
    hall.wait(10 * COUNT_SECONDS)
    assert watcher.told() == [] and hall.loop.idle, "nobody came or went"
    hall.leave(others.pop())
    hall.wait()
    assert watcher.told() == [("count", "", MOST + 48)]
    assert hall.presence.of("a").listed is None


def test_counts_are_no_closer_than_a_second_while_they_keep_coming(hall: Hall) -> None:
    watcher = hall.enter("watcher", watching=True)
    for number in range(MOST):
        hall.enter(str(number))
    watcher.told()
    heard = 0
    for number in range(100):
        hall.enter(str(number))
        hall.wait(COUNT_SECONDS / 10)
        heard += len(watcher.told())
    assert 9 <= heard <= 10


def test_newcomer_among_too_many_is_told_their_count(hall: Hall) -> None:
    for number in range(MOST):
        hall.enter(str(number))
    watcher = hall.enter("watcher", watching=True)
    assert watcher.told() == [("now", "many", MOST + 1)]


def test_when_few_are_left_the_watchers_are_told_anew_who(hall: Hall) -> None:
    watcher = hall.enter("watcher", watching=True)
    others = [hall.enter(str(number)) for number in range(MOST)]
    hall.wait()
    assert watcher.told()[-1] == ("count", "", MOST + 1)
    hall.leave(others[0])
    assert watcher.told() == []
    hall.wait()
    assert watcher.told() == [("now", "watcher 1 2", MOST)]
    hall.leave(others[1])
    hall.join(others[0])
    assert watcher.told() == [("leave", "1", MOST - 1), ("join", "0", MOST)]


def test_crossing_the_limit_to_and_fro_is_told_once_a_second(hall: Hall) -> None:
    watcher = hall.enter("watcher", watching=True)
    others = [hall.enter(str(number)) for number in range(MOST)]
    watcher.told()
    for _ in range(20):
        hall.leave(others[0])
        hall.join(others[0])
    assert watcher.told() == []
    hall.wait()
    assert watcher.told() == [("count", "", MOST + 1)]


def test_without_a_list_there_are_only_counts() -> None:
    hall = Hall(most=0)
    try:
        watcher = hall.enter("watcher", watching=True)
        assert watcher.told() == [("now", "many", 1)]
        hall.wait()
        assert watcher.told() == [("count", "", 1)]
    finally:
        hall.loop.stop()


def test_storm_of_joins_costs_each_nothing_and_its_count_is_told_in_slices(hall: Hall) -> None:
    crowd = [hall.enter(str(number), watching=True) for number in range(10_000)]
    for number, fellow in enumerate(crowd):
        (now, *events) = fellow.told()
        assert now[0] == "now" and now[2] == number + 1
        assert len(events) == max(0, MOST - 1 - number), "nothing after the first few"
    hall.loop.run(limit=100_000)
    hall.loop.advance(COUNT_SECONDS)
    told = 0
    while told < len(crowd):
        hall.loop.step()
        some = [fellow for fellow in crowd[told : told + BREATH + 1] if fellow.stream.kernel]
        assert len(some) <= BREATH
        assert all(fellow.told() == [("count", "", 10_000)] for fellow in some)
        told += len(some)
    hall.loop.run()
    assert hall.loop.idle


def test_slices_tell_what_is_true_when_they_are_sent(hall: Hall) -> None:
    crowd = [hall.enter(str(number), watching=True) for number in range(BREATH + 3)]
    for fellow in crowd:
        fellow.told()
    hall.loop.run()
    hall.loop.advance(COUNT_SECONDS)
    hall.loop.step()
    hall.leave(crowd[0])
    hall.leave(crowd[-1])
    late = hall.enter("late", watching=True)
    hall.loop.run()
    assert crowd[1].told() == [("count", "", BREATH + 3)]
    assert crowd[-2].told() == [("count", "", BREATH + 2)]
    assert crowd[-1].told() == [], "it has left"
    assert late.told() == [("now", "many", BREATH + 2)]
    hall.wait()
    # Whoever was told too early hears the rest; nobody is left with a wrong number.
    assert crowd[1].told() == crowd[-2].told() == late.told() == [("count", "", BREATH + 2)]


class View:
    """What a client knows that believes what it is told."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: set[str] | None = None

    def hear(self, message: dict[str, Any]) -> None:
        self.count = message["count"]
        match message["event"]:
            case "now":
                listed = message["members"]
                self.listed = listed and {one["connection"] for one in listed}
            case "count":
                self.listed = None
            case "join" if self.listed is not None:
                self.listed.add(message["member"]["connection"])
            case "leave" if self.listed is not None:
                self.listed.remove(message["member"]["connection"])


@given(
    st.integers(0, 4),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["enter", "leave", "watch", "step", "wait", "attended", "departed", "gathered"]
            ),
            st.integers(0, 6),
        )
    ),
)
def test_who_believes_what_it_is_told_knows_who_is_there(
    most: int, steps: list[tuple[str, int]]
) -> None:
    hall = Hall(most, alone=False)
    others: dict[str, set[str]] = {"n0": set(), "n1": set()}

    def attendances() -> dict[str, Attendance]:
        return {
            node: elsewhere(*sorted(names), node=node)
            if len(names) <= most
            else Attendance(len(names))
            for node, names in others.items()
            if names
        }

    try:
        fellows = [Fellow(str(number)) for number in range(7)]
        hall.names = {fellow.sink: fellow.name for fellow in fellows}
        views: dict[Fellow, View] = {}
        present: set[Fellow] = set()
        for step, number in steps:
            fellow = fellows[number]
            match step:
                case "enter" if fellow not in present:
                    present.add(fellow)
                    hall.join(fellow)
                case "leave" if fellow in present:
                    present.remove(fellow)
                    hall.leave(fellow)
                    views.pop(fellow, None)
                    fellow.messages()
                case "watch" if fellow in present and fellow not in views:
                    views[fellow] = View()
                    hall.presence.watch("a", fellow.sink)
                case "step":
                    hall.loop.step()
                case "wait":
                    hall.loop.advance(COUNT_SECONDS / 2)
                case "attended":
                    node = f"n{number % 2}"
                    others[node] ^= {f"{node}.{number}"}
                    hall.presence.attended("a", node, attendances().get(node))
                case "departed":
                    node = f"n{number % 2}"
                    others[node] = set()
                    hall.presence.departed(node)
                case "gathered":
                    hall.presence.gathered("a", attendances())
        hall.presence.gathered("a", attendances())
        for _ in range(4):
            hall.wait()
        names = {fellow.name for fellow in present}.union(*others.values())
        for fellow, view in views.items():
            for message in fellow.messages():
                view.hear(message)
            assert view.count == len(names)
            assert view.listed == (names if len(names) <= most else None)
    finally:
        hall.loop.stop()


# --- on several nodes ---


@pytest.fixture
def wide() -> Iterator[Hall]:
    """A hall whose others are told of by hand."""
    hall = Hall(alone=False)
    yield hall
    hall.loop.run()
    hall.loop.stop()


def elsewhere(*names: str, node: str = "there", since_ms: int = 500) -> Attendance:
    return Attendance(len(names), [Member(name, "events", since_ms, node) for name in names])


def test_who_watches_is_told_who_is_there_when_all_of_it_is_known(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    other = wide.enter("other")
    wide.presence.attended("a", "there", elsewhere("early"))
    wide.leave(other)
    assert watcher.told() == []
    wide.presence.gathered("a", {"there": elsewhere("x", "y")})
    assert watcher.told() == [("now", "x y watcher", 3)]
    late = wide.enter("late", watching=True)
    assert late.told() == [("now", "many", 4)]


def test_members_stand_in_the_order_they_joined_wherever_they_did(wide: Hall) -> None:
    wide.enter("second")  # at 1000 ms
    others = {"n1": elsewhere("third", since_ms=1500), "n2": elsewhere("first", since_ms=500)}
    wide.presence.gathered("a", others)
    assert [m.connection for m in wide.presence.of("a").listed or ()] == [
        "first",
        "second",
        "third",
    ]
    assert {m.connection: m.node for m in wide.presence.of("a").listed or ()}["second"] == "here"


def test_what_changes_elsewhere_is_told_as_joins_and_leaves(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    wide.presence.gathered("a", {})
    watcher.told()
    wide.presence.attended("a", "there", elsewhere("x", "y"))
    assert watcher.told() == [("join", "x", 2), ("join", "y", 3)]
    wide.presence.attended("a", "there", elsewhere("x", "z"))
    assert watcher.told() == [("leave", "y", 2), ("join", "z", 3)]
    wide.presence.attended("a", "there", elsewhere("x", "z"))
    assert watcher.told() == [], "no news"
    wide.presence.attended("a", "there", elsewhere("x", "z", since_ms=700))
    assert watcher.told() == [
        ("leave", "x", 2),
        ("leave", "z", 1),
        ("join", "x", 2),
        ("join", "z", 3),
    ], "who has left and come back is a new member"
    wide.presence.attended("a", "there", None)
    assert watcher.told() == [("leave", "x", 2), ("leave", "z", 1)]
    wide.presence.attended("a", "there", None)
    assert watcher.told() == []


def test_gathering_anew_tells_only_what_was_missed(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    wide.presence.gathered("a", {"n1": elsewhere("x", node="n1")})
    watcher.told()
    wide.presence.gathered("a", {"n2": elsewhere("y", node="n2")})
    assert {event[:2] for event in watcher.told()} == {("join", "y"), ("leave", "x")}
    assert wide.presence.of("a").count == 2
    wide.presence.gathered("a", {"n2": elsewhere("y", node="n2")})
    assert watcher.told() == []


def test_too_many_on_all_nodes_together_are_counted(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    wide.presence.gathered("a", {"n1": elsewhere("x", node="n1")})
    assert watcher.told() == [("now", "x watcher", 2)]
    wide.presence.attended("a", "n2", elsewhere("y", "z", node="n2"))
    assert watcher.told() == []
    wide.wait()
    assert watcher.told() == [("count", "", 4)]
    wide.presence.attended("a", "n2", Attendance(1000))
    wide.wait()
    assert watcher.told() == [("count", "", 1002)]
    wide.presence.attended("a", "n2", None)
    wide.wait()
    assert watcher.told() == [("now", "x watcher", 2)]


def test_those_another_node_does_not_name_are_counted_also_when_they_are_few(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    wide.presence.gathered("a", {"n1": Attendance(1)})
    assert watcher.told() == [("now", "many", 2)]
    wide.presence.attended("a", "n1", Attendance(2))
    wide.wait()
    assert watcher.told() == [("count", "", 3)]


def test_node_that_dies_takes_its_members_along_in_every_channel(wide: Hall) -> None:
    watcher = wide.enter("watcher", watching=True)
    wide.presence.gathered("a", {"n1": elsewhere("x"), "n2": elsewhere("y")})
    watcher.told()
    wide.presence.departed("n1")
    assert watcher.told() == [("leave", "x", 2)]
    wide.presence.departed("n1")
    assert watcher.told() == []


def test_death_of_a_node_is_told_in_slices_and_not_of_what_came_back_meanwhile(wide: Hall) -> None:
    fellow = Fellow("fellow")
    wide.names[fellow.sink] = "fellow"
    channels = [f"c{number}" for number in range(BREATH + 2)]
    for channel in channels:
        wide.presence.join(channel, fellow.sink)
        wide.presence.gathered(channel, {"n1": elsewhere("x")})
    wide.presence.departed("n1")
    assert [wide.presence.of(channel).count for channel in channels] == [1] * BREATH + [2, 2]
    wide.presence.attended(channels[-1], "n1", elsewhere("x", "y"))
    wide.loop.run()
    assert [wide.presence.of(channel).count for channel in channels[-2:]] == [1, 3]


def test_storm_that_waits_for_the_others_is_told_in_slices(wide: Hall) -> None:
    crowd = [wide.enter(str(number), watching=True) for number in range(2 * BREATH + 3)]
    wide.presence.gathered("a", {})
    told = 0
    while told < len(crowd):
        some = [fellow for fellow in crowd if fellow.stream.kernel]
        assert len(some) <= BREATH
        for fellow in some:
            assert fellow.told() == [("now", "many", len(crowd))]
        told += len(some)
        # Who comes in between waits its turn like the others.
        wide.loop.step()
    wide.loop.run()
    wide.wait()


def test_who_unwatches_or_leaves_before_it_was_told_is_not(wide: Hall) -> None:
    one, two = wide.enter("one", watching=True), wide.enter("two", watching=True)
    wide.presence.unwatch("a", one.sink)
    wide.leave(two)
    wide.presence.gathered("a", {})
    wide.presence.gathered("b", {})
    wide.presence.attended("b", "n1", elsewhere("x"))
    assert one.told() == two.told() == []
    assert wide.presence.of("b").count == 0


def test_who_is_elsewhere_is_forgotten_when_nobody_here_follows_the_channel(wide: Hall) -> None:
    one = wide.enter("one")
    wide.presence.gathered("a", {"n1": elsewhere("x")})
    wide.leave(one)
    assert wide.presence.attendance("a") is None
    wide.presence.attended("a", "n1", elsewhere("x", "y"))
    watcher = wide.enter("watcher", watching=True)
    assert watcher.told() == [], "it is asked again"
    wide.presence.gathered("a", {"n1": elsewhere("z")})
    assert watcher.told() == [("now", "z watcher", 2)]
    assert wide.presence.attendance("a") == Attendance(
        1, [Member("watcher", "websocket", 1000, "here")]
    ), "its own alone"


# --- those who don't read ---


def test_watcher_that_does_not_read_is_cut_off_and_the_others_hear_all(hall: Hall) -> None:
    stuck = hall.enter("stuck", watching=True, capacity=50, max_pending=2000)
    watcher = hall.enter("watcher", watching=True)
    count = 0
    while not stuck.sink.closed:
        other = hall.enter("other")
        hall.leave(other)
        count += 1
        assert stuck.stream.pending() <= 2000 + 200
        assert count < 100
    assert len(watcher.told()) == 1 + 2 * count
    hall.leave(stuck)
    assert watcher.told() == [("leave", "stuck", 1)]


# --- with names and patterns ---


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(
        max_subscriptions=6,
        max_pattern_channels=6,
        presence=True,
        presence_members=MOST,
        namespaces={
            "now": NamespaceSettings(history_size=0),
            "dark": NamespaceSettings(presence=False),
        },
    )
    yield bench
    bench.end()


def connect(bench: Bench, name: str, *, capacity: int = 1 << 20) -> FakeConnection:
    connection = bench.connect(name=name)
    connection.stream.capacity = capacity
    return connection


def subscribe(
    bench: Bench, connection: FakeConnection, name: str, *, presence: bool = False
) -> Any:
    """By name or by pattern; the finished task."""
    listener = replace(connection.listener, presence=presence)
    if "*" in name:
        coroutine: Any = bench.node.subscribe_pattern(
            connection.sink, Pattern.parse(name), Starts(Latest()), listener
        )
    else:
        coroutine = bench.node.subscribe(connection.sink, name, Latest(), listener)
    task = bench.loop.create_task(coroutine)
    bench.loop.run()
    return task


def join(bench: Bench, name: str, channel: str, *, presence: bool = False) -> FakeConnection:
    connection = connect(bench, name)
    subscribe(bench, connection, channel, presence=presence).result()
    return connection


def heard(connection: FakeConnection) -> list[tuple[str, str, str, int]]:
    """The channel and, in short, what of it."""
    return [
        (message["channel"], *short(message))
        for message in connection.messages()
        if message["type"] == "presence"
    ]


def present(bench: Bench, channel: str) -> tuple[int, list[str] | None]:
    members = bench.loop.complete(bench.node.directory.presence(channel))
    listed = members.listed
    return members.count, None if listed is None else [member.connection for member in listed]


def test_connection_by_name_and_by_pattern_is_one_member(bench: Bench) -> None:
    one = join(bench, "one", "b:1", presence=True)
    subscribe(bench, one, "b:*", presence=True).result()
    subscribe(bench, one, "*:1", presence=True).result()
    assert heard(one) == [("b:1", "now", "one", 1)]
    assert present(bench, "b:1") == (1, ["one"])
    bench.node.unsubscribe(one.sink, "b:*")
    bench.node.unsubscribe(one.sink, "*:1")
    assert present(bench, "b:1") == (1, ["one"])
    join(bench, "two", "b:1")
    assert heard(one) == [("b:1", "join", "two", 2)], "its name asked for it as well"
    bench.node.unsubscribe(one.sink, "b:1")
    assert present(bench, "b:1") == (1, ["two"])


def test_pattern_brings_events_of_those_that_show_presence(bench: Bench) -> None:
    for channel in ("b:1", "dark:1"):
        bench.publish("old", channel)
    one = connect(bench, "one")
    assert len(subscribe(bench, one, "*:*", presence=True).result()) == 2
    join(bench, "two", "dark:1")
    join(bench, "three", "b:1")
    assert heard(one) == [("b:1", "now", "one", 1), ("b:1", "join", "three", 2)]
    bench.publish("born", "b:2")
    bench.publish("born", "dark:2")
    join(bench, "four", "now:1")
    bench.loop.run()
    # An ephemeral channel has no birth: the follower comes when somebody is there.
    assert heard(one) == [("b:2", "now", "one", 1), ("now:1", "now", "four one", 2)]


def test_pattern_that_asks_later_brings_events_of_what_was_followed_before(bench: Bench) -> None:
    bench.publish("old", "b:2")
    one = join(bench, "one", "b:1")
    subscribe(bench, one, "*:2").result()
    assert heard(one) == []
    subscribe(bench, one, "b:*", presence=True).result()
    assert heard(one) == [("b:1", "now", "one", 1), ("b:2", "now", "one", 1)]
    bench.node.unsubscribe(one.sink, "b:*")
    join(bench, "two", "b:1")
    join(bench, "three", "b:2")
    assert heard(one) == [], "what is left did not ask"
    assert present(bench, "b:2") == (2, ["one", "three"])


def test_pattern_that_did_not_ask_may_inherit_the_channel_but_not_its_events(bench: Bench) -> None:
    bench.publish("old", "b:1")
    one = join(bench, "one", "b:*", presence=True)
    subscribe(bench, one, "*:1").result()
    subscribe(bench, one, "*1", presence=True).result()
    heard(one)
    bench.node.unsubscribe(one.sink, "b:*")
    two = join(bench, "two", "b:1")
    assert heard(one) == [("b:1", "join", "two", 2)], "another asked too"
    bench.node.unsubscribe(one.sink, "*1")
    bench.node.connections.remove(two)
    assert heard(one) == []
    bench.node.unsubscribe(one.sink, "*:1")
    assert bench.node._presence._rosters == {}


def test_asking_by_name_where_presence_is_off_is_refused_and_leaves_nothing(bench: Bench) -> None:
    one = connect(bench, "one")
    assert isinstance(subscribe(bench, one, "dark:1", presence=True).exception(), PresenceOff)
    assert bench.forgotten()
    subscribe(bench, one, "dark:1").result()
    assert present(bench, "dark:1") == (1, None), "counted, not listed"
    assert bench.node._presence._rosters == {}, "nothing is kept of it"


def test_who_is_on_a_channel_nobody_knows_is_no_answer(bench: Bench) -> None:
    with pytest.raises(NoSuchChannel):
        present(bench, "b:1")
    bench.publish("old", "b:1")
    assert present(bench, "b:1") == (0, [])
    bench.publish("old", "dark:1")
    assert present(bench, "dark:1") == (0, None)
    for name in range(MOST + 1):
        join(bench, str(name), "b:1")
    assert present(bench, "b:1") == (MOST + 1, None)


def test_who_is_there_is_told_before_anything_that_was_published(bench: Bench) -> None:
    bench.publish("old", "b:1")
    one = connect(bench, "one")
    listener = replace(one.listener, presence=True)
    task = bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), listener))
    bench.loop.run()
    task.result()
    assert [message["type"] for message in one.messages()] == ["presence", "notification"]


def test_leaving_is_unsubscribing_silencing_or_being_gone(bench: Bench) -> None:
    bench.publish("old", "b:1")
    watcher = join(bench, "watcher", "b:1", presence=True)
    assert heard(watcher) == [("b:1", "now", "watcher", 1)]

    def joins_and_leaves(name: str, leave: Callable[[FakeConnection], None]) -> None:
        leave(join(bench, "x", name))
        assert heard(watcher) == [("b:1", "join", "x", 2), ("b:1", "leave", "x", 1)]

    def silenced_then_gone(connection: FakeConnection) -> None:
        bench.node.silence(connection.sink)
        bench.node.connections.remove(connection)

    joins_and_leaves("b:1", lambda connection: bench.node.unsubscribe(connection.sink, "b:1"))
    joins_and_leaves("b:*", lambda connection: bench.node.unsubscribe(connection.sink, "b:*"))
    joins_and_leaves("b:1", silenced_then_gone)
    joins_and_leaves("b:*", bench.node.connections.remove)


@pytest.mark.parametrize("steps", range(8))
def test_client_that_leaves_while_joining_is_no_ghost(bench: Bench, steps: int) -> None:
    bench.publish("old", "b:1")
    watcher = join(bench, "watcher", "b:1", presence=True)
    heard(watcher)
    bench.broker.pauses = (2, 2)
    one = connect(bench, "one")
    listener = replace(one.listener, presence=True)
    bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), listener))
    for _ in range(steps):
        bench.loop.step()
    one.sink.closed = True
    bench.node.connections.remove(one)
    bench.loop.run()
    assert present(bench, "b:1") == (1, ["watcher"])
    assert [event[1] for event in heard(watcher)] in ([], ["join", "leave"])


def test_client_that_is_closed_for_what_it_was_told_is_no_ghost(bench: Bench) -> None:
    bench.publish("old", "b:1")
    one = connect(bench, "one")

    def close(joined: Any) -> None:
        bench.node.silence(one.sink)  # as /raw does when there is a gap

    listener = replace(one.listener, joined=close)
    task = bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), listener))
    bench.loop.run()
    task.result()
    assert bench.node._presence._rosters == {} and bench.forgotten()


def test_broker_that_is_away_lets_nobody_join(bench: Bench) -> None:
    bench.publish("old", "b:1")
    watcher = join(bench, "watcher", "b:2", presence=True)
    heard(watcher)
    bench.broker.down = True
    one = connect(bench, "one")
    by_name = bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), one.listener))
    by_pattern = bench.loop.create_task(
        bench.node.subscribe_pattern(
            watcher.sink,
            Pattern.parse("b:*"),
            Starts(All()),
            replace(watcher.listener, presence=True),
        )
    )
    bench.loop.run()
    assert isinstance(by_name.exception(), BrokerUnavailable)
    assert isinstance(by_pattern.exception(), BrokerUnavailable)
    assert bench.node._presence.of("b:1").count == 0
    # Those on a channel are known without asking the broker.
    assert present(bench, "b:2") == (1, ["watcher"])
    assert heard(watcher) == []


def test_late_end_of_an_earlier_join_does_not_take_the_later_one_away(bench: Bench) -> None:
    bench.publish("old", "b:1")
    one = connect(bench, "one")
    # History is slow for the first, and its client has left and come back meanwhile.
    bench.broker.pauses = (10, 0)
    first = bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), one.listener))
    bench.loop.step()
    bench.loop.step()
    bench.node.silence(one.sink)
    bench.broker.pauses = (0, 0)
    second = bench.loop.create_task(bench.node.subscribe(one.sink, "b:1", All(), one.listener))
    while not second.done():
        bench.loop.step()
    assert not first.done()
    assert present(bench, "b:1") == (1, ["one"])
    bench.loop.run()
    first.result()
    assert present(bench, "b:1") == (1, ["one"])
    bench.node.connections.remove(one)
    assert bench.node._presence._rosters == {} and bench.forgotten()
