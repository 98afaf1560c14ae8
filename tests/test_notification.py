"""What becomes of a notification: a draft, a publication, its position, or a gap."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadField
from notifier.instants import format_instant
from notifier.notification import Draft, Gap, Notification, Position, Publication
from tests.test_fields import NOW_MS, json_values, own_fields

YEAR_MS = 366 * 86_400_000

epochs = st.text("0123456789abcXYZ", min_size=1, max_size=32)
positions = st.builds(Position, epochs, st.integers(0, 10**18 - 1))


# --- positions ---


@given(positions)
def test_position_is_read_as_it_is_written(position: Position) -> None:
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    ["", ":", "e:", ":1", "e:-1", "e:+1", "e:01", "e:1.0", "e:1e3", "e:١", "é:1", "e f:1", "e:1:2",
     "e:1\n", "e" * 33 + ":1", "e:" + "9" * 19, "e:1_0", "\ud800:1", "e_:1"],
)  # fmt: skip
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a position"):
        Position.parse(text)


@given(st.text(st.characters()))
def test_any_text_is_a_position_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(Position.parse(text)) == text


# --- drafts ---


@pytest.mark.parametrize(
    ("expires", "after_ms"),
    [(10, 10_000), (0.5, 500), ("10m", 600_000), ("90", 90_000), (1e-9, 1), ("1ms", 1),
     (10 * 366 * 86400, 10 * YEAR_MS), (format_instant(NOW_MS + 1), 1),
     ("2026-11-22T17:24:01Z", 877)],
)  # fmt: skip
def test_expires_is_told_as_a_time(expires: object, after_ms: int) -> None:
    draft = Notification.parse({"message": "x", "expires": expires}).draft(
        "a", id="x", now_ms=NOW_MS
    )
    assert draft.expires_ms == NOW_MS + after_ms
    assert json.loads(b"{" + draft.body + b"}")["expires"] == format_instant(NOW_MS + after_ms)


@pytest.mark.parametrize("late_ms", [0, 1, YEAR_MS])
def test_draft_that_has_expired_is_refused(late_ms: int) -> None:
    notification = Notification.parse({"data": 1, "expires": format_instant(NOW_MS - late_ms)})
    with pytest.raises(BadField, match="in the past"):
        notification.draft("a", id="x", now_ms=NOW_MS)


def test_last_time_there_is_can_be_written() -> None:
    fields = {"message": "x", "expires": "9999-12-31T23:59:59.9999Z"}
    assert own_fields(**fields)["expires"] == "9999-12-31T23:59:59.999Z"


def test_draft_leaves_out_the_envelope() -> None:
    draft = Notification.parse({"channel": "b", "id": "y", "data": 1, "key": "k"}).draft(
        "a", id="x", now_ms=NOW_MS
    )
    assert (draft.channel, draft.id, draft.time_ms, draft.key) == ("a", "x", NOW_MS, "k")
    assert draft.expires_ms is None
    assert json.loads(b"{" + draft.body + b"}") == {"data": 1, "key": "k"}


@given(json_values, json_values)
def test_fingerprints_are_the_same_exactly_for_the_same_body(one: Any, two: Any) -> None:
    first, again, second = (
        Notification.parse({"data": data}).fingerprint() for data in (one, one, two)
    )
    assert len(first) == 16
    assert first == again
    same = json.dumps(one) == json.dumps(two)
    assert (first == second) == same


def test_fingerprint_tells_every_field() -> None:
    bodies: list[dict[str, Any]] = [
        {"message": "x"},
        {"message": "x", "title": "x"},
        {"title": "x"},
        {"message": "x", "priority": 1},
        {"message": "x", "tags": ["x"]},
        {"message": "x", "tags": []},
        {"message": "x", "key": "k"},
        {"message": "x", "expires": 10},
        {"message": "x", "expires": 11},
        {"message": "x", "data": None},
    ]
    assert len({Notification.parse(body).fingerprint() for body in bodies}) == len(bodies)


# --- publications ---


@pytest.mark.parametrize("position", [Position("e", 7), None])
def test_publication_is_its_draft_in_its_place(position: Position | None) -> None:
    publication = Draft("a", "x", NOW_MS, b'"data":1', "k", NOW_MS + 1).at(position)
    assert publication == Publication("a", position, "x", NOW_MS, b'"data":1', "k", NOW_MS + 1)


def test_publication_expires_at_its_time_and_not_before() -> None:
    publication = Publication("a", None, "x", 0, b"", expires_ms=10)
    assert [publication.expired(now) for now in (9, 10, 11)] == [False, True, True]
    assert not Publication("a", None, "x", 0, b"").expired(10**18)


def test_publication_is_reckoned_at_more_than_its_body() -> None:
    sizes = [Publication("a", None, "x", 0, b"x" * size).size for size in (0, 1000)]
    assert sizes[0] > 0
    assert sizes[1] == sizes[0] + 1000


def test_reader_of_a_gap_stands_before_its_end() -> None:
    assert Gap("a", None, Position("e", 7)).position == Position("e", 6)
