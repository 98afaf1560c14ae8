from __future__ import annotations

import pytest

from notifier.errors import TokenTooLong
from notifier.notification import Gap, Position, Publication
from notifier.wire import eventsource
from notifier.wire.chunked import bare, chunk
from notifier.wire.eventsource import (
    EVENTS,
    EVENTS_BARE,
    FIT_BYTES,
    OFFSET_DIGITS,
    SHARED_EVENTS_BARE,
    Bookmark,
)
from notifier.wire.prepared import Prepared
from notifier.wire.resume import MAX_TOKEN_BYTES, ResumeToken, parse_since

NOW_MS = 1795368240123


def publication(offset: int, channel: str = "a", body: bytes = b'"message":"m"') -> Prepared:
    return Prepared(Publication(channel, Position("e", offset), "i", 0, body))


def bookmark(*channels: str) -> Bookmark:
    made = Bookmark(bare, lambda: NOW_MS)
    for channel in channels:
        made.add(channel, Position("e", 0))
    return made


def test_an_event_is_its_id_its_name_and_one_line_of_data() -> None:
    assert eventsource.event(b"{}") == b"data: {}\n\n"
    assert eventsource.event(b"{}", name="gap", id="e:1") == b"id: e:1\nevent: gap\ndata: {}\n\n"


def test_an_error_is_named_otherwise_than_eventsources_own() -> None:
    assert eventsource.say("error", b"{}") == b"event: refused\ndata: {}\n\n"
    assert eventsource.say("subscribed", b"{}", id="e:1").startswith(b"id: e:1\nevent: subscribed")


def test_a_publication_has_its_position_as_id_and_a_gap_where_it_ends() -> None:
    data = EVENTS_BARE.encode(publication(7).item)
    assert data.startswith(b'id: e:7\ndata: {"type":"notification"')
    gap = EVENTS_BARE.encode(Gap("a", None, Position("e", 7)))
    assert gap.startswith(b'id: e:6\nevent: gap\ndata: {"type":"gap"')
    ephemeral = Publication("a", None, "i", 0, b"")
    assert EVENTS_BARE.encode(ephemeral).startswith(b"data: ")
    assert EVENTS.encode(ephemeral) == chunk(EVENTS_BARE.encode(ephemeral))


def test_of_several_channels_each_event_carries_where_all_of_them_are() -> None:
    place = bookmark("a", "b")
    first, second = place.fit([publication(1), publication(5, "b")], SHARED_EVENTS_BARE)
    time = f"t={NOW_MS // 1000}.{NOW_MS % 1000}"
    assert first.startswith(f"id: a=e:1,b=e:0;{time}\ndata: ".encode())
    assert second.startswith(f"id: a=e:1,b=e:5;{time}\ndata: ".encode())
    # What was made has not been sent.
    assert place.token == f"a=e:0,b=e:0;{time}"
    place.sent([publication(1)])
    assert place.token == f"a=e:1,b=e:0;{time}"
    assert parse_since(place.token, now_ms=NOW_MS) == ResumeToken(
        {"a": Position("e", 1), "b": Position("e", 0)}, NOW_MS
    )


def test_ephemeral_channels_have_no_place_in_the_token() -> None:
    place = bookmark("a")
    place.add("b", None)
    (frame,) = place.fit([Prepared(Publication("b", None, "i", 0, b""))], SHARED_EVENTS_BARE)
    assert frame.startswith(b"data: ")
    assert "b=" not in place.token


def test_no_more_is_made_at_once_than_about_what_fits() -> None:
    place = bookmark(*(f"{number:040}" for number in range(60)))
    items = [publication(n, f"{n % 60:040}", b'"message":"' + b"x" * 2000 + b'"') for n in
             range(1, 200)]  # fmt: skip
    frames = place.fit(items, SHARED_EVENTS_BARE)
    assert 1 < len(frames) < len(items)
    assert FIT_BYTES < sum(map(len, frames)) < FIT_BYTES + 10_000
    huge = publication(1, f"{1:040}", b'"message":"' + b"x" * 10 * FIT_BYTES + b'"')
    assert len(place.fit([huge, huge], SHARED_EVENTS_BARE)) == 1


def test_a_token_that_could_grow_too_long_is_refused_before_it_is_given_out() -> None:
    place = bookmark()
    with pytest.raises(TokenTooLong):
        for number in range(1000):
            place.add(f"{number:030}", Position("e" * 8, 0))
    known = place.token.count("=") - 1
    assert known > 50
    for number in range(known):
        place.sent([publication(10**OFFSET_DIGITS - 1, f"{number:030}")])
        place.add(f"{number:030}", Position("e" * 8, 10**OFFSET_DIGITS - 1))
    assert MAX_TOKEN_BYTES - 100 < len(place.token) <= MAX_TOKEN_BYTES
