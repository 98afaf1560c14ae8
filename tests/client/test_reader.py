"""What messages mean, without a server: the cases a real one can't be brought into at will."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.client import Gap, Notification
from notifier.client.positions import Place, Token
from notifier.client.reader import Reader
from notifier.errors import TooManySubscriptions

T = "2026-11-22T17:24:00.123Z"


def welcome(**more: Any) -> dict[str, Any]:
    return {"type": "welcome", "connection": "c", "ping_interval_ms": 25000, "time": T, **more}


def subscribed(channel: str, position: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "subscribed", "channel": channel, "position": position, **more}


def notification(channel: str, position: str | None, **more: Any) -> dict[str, Any]:
    return {
        "type": "notification",
        "channel": channel,
        "position": position,
        "id": more.pop("id", position),
        "time": T,
        **more,
    }


def gap(channel: str, after: str | None, before: str) -> dict[str, Any]:
    return {"type": "gap", "channel": channel, "after": after, "before": before}


def read(reader: Reader, *messages: dict[str, Any]) -> list[Any]:
    """What is told: positions of notifications, and gaps."""
    told: list[Any] = []
    for message in messages:
        for entry in reader.read(message):
            if isinstance(entry.item, Notification):
                told.append(entry.item.position or entry.item.id)
            elif entry.item is not None:
                told.append(entry.item)
    return told


def asked(reader: Reader) -> list[tuple[str, str | None]]:
    return [
        (command["channel"], command.get("since"))
        for command in reader.commands()
        if command["type"] == "subscribe"
    ]


def begun(*names: str, since: str | None = None) -> Reader:
    reader = Reader(names, since=since)
    reader.begin()
    return reader


def test_each_channel_goes_on_where_it_was() -> None:
    reader = begun("a", "b", since="10m")
    assert asked(reader) == [("a", "10m"), ("b", "10m")]
    read(reader, welcome(), subscribed("a", "e:3"), notification("a", "e:4"))
    assert asked(reader) == [("a", "e:4"), ("b", "10m")]


def test_pattern_goes_on_by_token_once_it_was_answered() -> None:
    reader = begun("p:*", since="all")
    read(reader, welcome(), subscribed("p:1", "e:3", pattern="p:*"))
    read(reader, subscribed("p:*", None, channels=1), notification("p:1", "e:4"))
    assert asked(reader) == [("p:*", "p:1=e:4;t=1795368240.123")]


def test_channels_a_pattern_does_not_bring_any_more_are_forgotten() -> None:
    reader = begun("p:*")
    for _ in range(2):
        read(reader, subscribed("p:1", "e:1", pattern="p:*"))
    read(reader, subscribed("p:2", "e:1", pattern="p:*"), subscribed("p:*", None, channels=2))
    asked(reader)
    reader.begin()
    read(reader, subscribed("p:2", "e:1", pattern="p:*"), subscribed("p:*", None, channels=1))
    ((_, token),) = asked(reader)
    assert token is not None and token.startswith("p:2=e:1;t=")


def test_channel_that_is_born_during_a_hand_over_is_told_once() -> None:
    """The successor was asked before its birth, and tells of it after the pattern's answer."""
    reader = begun("p:*")
    read(reader, subscribed("p:*", None, channels=0))
    asked(reader)
    birth = subscribed("p:1", "e:0", pattern="p:*")
    told = read(reader, birth, notification("p:1", "e:1"))
    reader.begin()
    told += read(reader, subscribed("p:*", None, channels=0))
    told += read(reader, birth, notification("p:1", "e:1"), notification("p:1", "e:2"))
    assert told == ["e:1", "e:2"]


def test_what_finds_no_room_in_a_token_is_asked_for_by_name() -> None:
    reader = begun("p:*")
    names = [f"p:{n}:" + "x" * 150 for n in range(40)]
    read(reader, *(subscribed(name, "epoch:7", pattern="p:*") for name in names))
    read(reader, subscribed("p:*", None, channels=40))
    *named, (pattern, token) = asked(reader)
    assert pattern == "p:*" and token is not None
    assert len(token.encode()) <= 4096
    in_token = [part.partition("=")[0] for part in token.partition(";")[0].split(",")]
    assert sorted([name for name, _ in named] + in_token) == sorted(names)
    assert {since for _, since in named} == {"epoch:7"}


def test_channels_that_a_cut_pattern_had_begun_go_on_by_their_names() -> None:
    """What ``since`` means now is another place in them than what it meant then."""
    reader = begun("p:*", since="-5")
    read(reader, welcome(), subscribed("p:1", "e:95", pattern="p:*"))
    read(reader, subscribed("p:2", None, pattern="p:*"))
    told = read(reader, notification("p:1", "e:96"), notification("p:1", "e:97"))
    assert asked(reader) == [("p:1", "e:97"), ("p:*", "-5")]
    reader.begin()
    told += read(reader, subscribed("p:1", "e:97"), notification("p:1", "e:98"))
    assert told == ["e:96", "e:97", "e:98"]


def long_token(count: int) -> Token:
    return Token({f"p:{n:03}:" + "x" * 150: Place("epoch", n) for n in range(count)}, 1234)


def test_token_of_any_length_is_sent_in_parts() -> None:
    whole = long_token(100)
    *named, (pattern, since) = asked(begun("p:*", since=str(whole)))
    assert pattern == "p:*" and since is not None and len(since.encode()) <= 4096
    part = Token.parse(since)
    assert part.time_ms == whole.time_ms and len(part.places) > 10
    assert dict(named) | {name: str(place) for name, place in part.places.items()} == {
        name: str(place) for name, place in whole.places.items()
    }


def test_token_gives_each_channel_its_own_place() -> None:
    since = "a=e:4,p:1=e:7,q:1=e:8;t=1.500"
    reader = begun("a", "b", "p:*", since=since)
    assert asked(reader) == [("a", "e:4"), ("b", ";t=1.500"), ("p:*", "p:1=e:7;t=1.500")]
    # Cut off before the pattern was answered, what was had by then is not asked for again.
    read(reader, welcome(), subscribed("p:1", "e:7", pattern="p:*"), notification("p:1", "e:9"))
    read(reader, subscribed("p:2", "e:0", pattern="p:*"))
    assert asked(reader)[2:] == [("p:*", "p:1=e:9,p:2=e:0;t=1.500")]


@pytest.mark.parametrize("since", ["k3Jd9wQa:4", "a=b;t=1", "a b=e:1;t=1", "a=e:1"])
def test_what_is_no_token_is_for_the_server_to_read(since: str) -> None:
    assert asked(begun("a", "p:*", since=since)) == [("a", since), ("p:*", since)]


def test_channel_that_several_patterns_bring_is_asked_for_once() -> None:
    """And before the patterns: one of them would bring it."""
    commands = list(begun("p:*", "*", since=str(long_token(100))).commands())[:-1]
    names = [command["channel"] for command in commands]
    assert len(set(names)) == len(names)
    assert names[-2:] == ["p:*", "*"]


def test_time_of_a_token_waits_for_what_may_begin_before_it() -> None:
    """A channel born while we were away is replayed from the old time, when it is told of."""
    reader = begun("p:*")
    read(reader, welcome(), subscribed("p:*", None, channels=0))
    reader.begin()
    later = "2026-11-22T18:24:00.123Z"
    read(reader, welcome(time=later), subscribed("p:1", "e:0", pattern="p:*"))
    read(reader, notification("p:1", "e:1", time=later))
    assert asked(reader) == [("p:*", "p:1=e:1;t=1795368240.123")]
    read(reader, subscribed("p:*", None, channels=1))
    assert asked(reader) == [("p:*", "p:1=e:1;t=1795371840.123")]


def test_successor_delivers_what_its_predecessor_has_not() -> None:
    reader = begun("a")
    told = read(reader, subscribed("a", "e:3"), notification("a", "e:4"), notification("a", "e:5"))
    reader.begin()  # it was asked while e:4 was the last one
    told += read(reader, subscribed("a", "e:4"), notification("a", "e:5"), notification("a", "e:6"))
    assert told == ["e:4", "e:5", "e:6"]
    assert asked(reader) == [("a", "e:6")]


def test_successor_in_a_log_that_was_rolled_back_delivers_what_is_new_there() -> None:
    """The place we had is beyond its end: the same numbers are other publications now."""
    reader = begun("a")
    read(reader, subscribed("a", "e:41"), notification("a", "e:42"))
    reader.begin()
    beyond = {"after": "e:42", "before": "e:41"}
    told = read(
        reader,
        subscribed("a", "e:40", recovered=False, gap=beyond),
        notification("a", "e:41"),
        notification("a", "e:42"),
    )
    assert told == [Gap("a", "e:42", "e:41"), "e:41", "e:42"]


def test_gap_that_the_predecessor_had_filled_is_no_news() -> None:
    reader = begun("a")
    read(reader, subscribed("a", "e:3"), *(notification("a", f"e:{n}") for n in range(4, 10)))
    reader.begin()
    trimmed = {"after": "e:4", "before": "e:8"}
    assert read(reader, subscribed("a", "e:7", gap=trimmed), notification("a", "e:10")) == ["e:10"]


def test_gap_is_told_from_where_we_are() -> None:
    reader = begun("a")
    read(reader, subscribed("a", "e:3"), *(notification("a", f"e:{n}") for n in range(4, 7)))
    assert read(reader, gap("a", "e:5", "e:9"), gap("a", "e:5", "e:9")) == [Gap("a", "e:6", "e:9")]
    assert read(reader, notification("a", "e:9"), gap("a", "e:9", "f:1")) == [
        "e:9",
        Gap("a", "e:9", "f:1"),
    ]
    assert asked(reader) == [("a", "f:0")]


@pytest.mark.parametrize("since", [None, "p:1=e:50;t=1.000"])
def test_channel_that_is_born_anew_has_a_gap(since: str | None) -> None:
    """Its log was lost, and it came to life again while the pattern followed nothing."""
    reader = begun("p:*", since=since)
    if since is None:
        read(reader, subscribed("p:1", "e:50", pattern="p:*"), subscribed("p:*", None))
    asked(reader)
    reader.begin()
    assert read(reader, subscribed("p:*", None, channels=0)) == []
    birth = subscribed("p:1", "f:0", recovered=True, pattern="p:*")
    told = read(reader, birth, notification("p:1", "f:1"))
    assert told == [Gap("p:1", "e:50", "f:1"), "f:1"]
    asked(reader)
    reader.begin()
    assert read(reader, subscribed("p:1", "f:1", pattern="p:*")) == []


def test_gap_that_the_server_tells_of_a_lost_log_is_told_once() -> None:
    reader = begun("p:*")
    read(reader, subscribed("p:1", "e:50", pattern="p:*"), subscribed("p:*", None))
    asked(reader)
    reader.begin()
    lost = {"after": "e:50", "before": "f:1"}
    join = subscribed("p:1", "f:0", recovered=False, gap=lost, pattern="p:*")
    told = read(reader, join, subscribed("p:*", None, channels=1), notification("p:1", "f:1"))
    assert told == [Gap("p:1", "e:50", "f:1"), "f:1"]


def test_channel_that_went_away_and_comes_back_as_it_was_has_no_gap() -> None:
    reader = begun("p:*")
    read(reader, subscribed("p:1", "e:5", pattern="p:*"), subscribed("p:*", None))
    asked(reader)
    reader.begin()
    read(reader, subscribed("p:*", None, channels=0))
    birth = subscribed("p:1", "e:5", pattern="p:*")
    assert read(reader, birth, notification("p:1", "e:6")) == ["e:6"]


def test_channel_that_begins_beyond_where_we_were_has_a_gap() -> None:
    reader = begun("p:*", since="-5")
    read(reader, subscribed("p:1", "e:95", pattern="p:*"), notification("p:1", "e:97"))
    reader.begin()
    told = read(reader, subscribed("p:1", "e:105", pattern="p:*"), notification("p:1", "e:106"))
    assert told == [Gap("p:1", "e:97", "e:106"), "e:106"]


def test_channels_that_went_away_are_not_remembered_for_ever() -> None:
    reader = begun("p:*")
    for number in range(5000):
        read(reader, subscribed(f"p:{number}", "e:1", pattern="p:*"))
    asked(reader)
    reader.begin()
    read(reader, subscribed("p:*", None, channels=0))
    assert len(reader._left) == 4096


def test_ephemeral_notifications_of_two_connections_are_told_apart_by_id() -> None:
    reader = begun("a", since="latest")
    told = read(reader, subscribed("a", None), *(notification("a", None, id=i) for i in "xxy"))
    assert told == ["x", "x", "y"]  # their producer sent one twice
    reader.begin()
    told = read(reader, subscribed("a", None), *(notification("a", None, id=i) for i in "yz"))
    assert told == ["z"]
    assert asked(reader) == [("a", None)]


def test_ids_are_not_remembered_for_ever() -> None:
    reader = begun("a")
    read(reader, *(notification("a", None, id=str(n)) for n in range(1000)))
    assert len(reader._ids) == 256


def test_channel_that_is_taken_away_is_raised() -> None:
    reader = begun("p:*")
    assert read(reader, {"type": "unsubscribed", "channel": "x", "code": 0, "reason": ""}) == []
    with pytest.raises(TooManySubscriptions, match="enough") as caught:
        read(reader, {"type": "unsubscribed", "channel": "x", "code": 42901, "reason": "enough"})
    assert caught.value.channel == "x"


def test_types_of_later_versions_are_passed_over() -> None:
    assert read(begun("a"), {"type": "presence", "channel": "a"}, {"type": "new"}) == []
