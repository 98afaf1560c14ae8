"""What there is, asked of a node that has another beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifier.attendance import Attendance
from notifier.channels import Pattern
from notifier.config import NamespaceSettings
from notifier.errors import BadParameter, BrokerUnavailable, NoSuchChannel
from notifier.members import Member
from notifier.wire.resume import Latest
from tests.nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(
        presence=True, presence_members=3, namespaces={"dark": NamespaceSettings(presence=False)}
    )
    yield bench
    bench.end()


def ask(bench: Bench, name: str, *args: Any) -> Any:
    return bench.loop.complete(getattr(bench.node.directory, name)(*args))


def names(bench: Bench, pattern: str = "*", after: str = "", limit: int | None = None) -> Any:
    page = ask(bench, "channels", Pattern.parse(pattern), after, limit)
    return [(one.channel, one.subscribers) for one in page.channels], page.next


def test_subscribers_are_those_of_all_nodes(bench: Bench) -> None:
    bench.publish("one")
    bench.subscribe(bench.connect(), "a", Latest())
    bench.loop.run()
    bench.fleet.there["a"] = Attendance(2)
    overview = ask(bench, "channel", "a")
    assert (overview.subscribers, overview.state.publications) == (3, 1)
    assert bench.publish("two").subscribers == 1, "a producer is told those of this node"


def test_channel_that_is_only_followed_elsewhere_is_there(bench: Bench) -> None:
    bench.fleet.there["a"] = Attendance(2)
    overview = ask(bench, "channel", "a")
    assert (overview.subscribers, overview.state) == (2, None)
    assert bench.loop.complete(bench.node.history("a", None, None)).publications == []
    assert bench.loop.complete(bench.node.clear("a")) == 0
    with pytest.raises(NoSuchChannel):
        ask(bench, "channel", "b")
    with pytest.raises(NoSuchChannel):
        bench.loop.complete(bench.node.history("b", None, None))


def test_list_is_of_what_was_published_to_and_what_anybody_follows(bench: Bench) -> None:
    bench.publish("one", "b")
    bench.subscribe(bench.connect(), "c", Latest())
    bench.loop.run()
    bench.fleet.there |= {"a": Attendance(1), "c": Attendance(1), "d": Attendance(5)}
    assert names(bench) == ([("a", 1), ("b", 0), ("c", 2), ("d", 5)], None)
    assert names(bench, limit=2) == ([("a", 1), ("b", 0)], "b")
    assert names(bench, after="b", limit=2) == ([("c", 2), ("d", 5)], None)
    assert names(bench, "d*") == ([("d", 5)], None)
    with pytest.raises(BadParameter):
        names(bench, limit=0)


def test_presence_lists_the_members_of_all_nodes_unless_they_are_too_many(bench: Bench) -> None:
    bench.subscribe(bench.connect(name="here"), "a", Latest())
    bench.loop.run()
    bench.fleet.there["a"] = Attendance(2, [Member(n, "raw", 1, "there") for n in ("x", "y")])
    members = ask(bench, "presence", "a")
    assert [(m.connection, m.node == bench.fleet.id) for m in members.listed] == [
        ("x", False),
        ("y", False),
        ("here", True),
    ]
    bench.fleet.there["a"] = Attendance(3, [Member(n, "raw", 1, "there") for n in "xyz"])
    members = ask(bench, "presence", "a")
    assert (members.count, members.listed) == (4, None)
    bench.fleet.there["b"] = Attendance(1, [Member("x", "raw", 1, "there")])
    assert ask(bench, "presence", "b").count == 1, "nobody here"


def test_presence_that_is_not_shown_is_counted_on_all_nodes(bench: Bench) -> None:
    bench.subscribe(bench.connect(), "dark:a", Latest())
    bench.loop.run()
    bench.fleet.there["dark:a"] = Attendance(4)
    members = ask(bench, "presence", "dark:a")
    assert (members.count, members.listed) == (5, None)
    with pytest.raises(NoSuchChannel):
        ask(bench, "presence", "dark:b")


def test_oldest_node_comes_first(bench: Bench) -> None:
    assert [node.id for node in ask(bench, "nodes")] == ["there", bench.fleet.id]


@pytest.mark.parametrize(
    "asking",
    [
        lambda bench: ask(bench, "channel", "a"),
        lambda bench: names(bench),
        lambda bench: ask(bench, "presence", "a"),
        lambda bench: ask(bench, "nodes"),
    ],
)
def test_answer_that_would_be_half_is_refused(
    bench: Bench, asking: Callable[[Bench], object]
) -> None:
    bench.publish("one")
    bench.fleet.down = True
    with pytest.raises(BrokerUnavailable):
        asking(bench)
