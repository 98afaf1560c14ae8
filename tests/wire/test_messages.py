from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadField, Draining
from notifier.history import History
from notifier.instants import parse_instant
from notifier.notification import Gap, Notification, Position, Publication
from notifier.wire import messages

HERE = Position("k3Jd9wQa", 42)
NEXT = Position("k3Jd9wQa", 45)
GAP = Gap("alerts", after=HERE, before=NEXT)
NOW_MS = 1795368240123

texts = st.text(max_size=20)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
notifications = st.fixed_dictionaries(
    {"message": texts.filter(bool)},  # something to show
    optional={
        "title": texts,
        "priority": st.integers(1, 5),
        "tags": st.lists(st.text(min_size=1, max_size=9), max_size=3),
        "click": texts.map(lambda text: "/" + quote(text, safe="")),
        "data": json_values,
        "key": names,
        "content_type": names,
        "data_base64": st.sampled_from(["", "QUJD"]),
    },
)
refs = st.none() | st.integers(-(2**63) + 1, 2**63 - 1) | texts


def read(message: bytes) -> dict[str, Any]:
    """The message, whose first member must be its type and whose members must be distinct."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    parsed: dict[str, Any] = json.loads(message.decode(), object_pairs_hook=distinct)
    assert next(iter(parsed)) == "type"
    return parsed


@given(notifications, st.none() | st.integers(1, 10**17), names, names)
def test_any_notification_reaches_the_reader(
    fields: dict[str, Any], offset: int | None, id: str, channel: str
) -> None:
    draft = Notification.parse(fields).draft(channel, id=id, now_ms=NOW_MS)
    place = None if offset is None else Position("e", offset)
    publication = Publication(channel, place, id, draft.time_ms, draft.body)
    envelope = {
        "position": None if place is None else str(place),
        "offset": offset,
        "id": id,
        "time": "2026-11-22T17:24:00.123Z",
    }
    assert json.loads(b"{" + messages.members(publication) + b"}") == envelope | fields
    assert read(messages.item(publication)) == (
        {"type": "notification", "channel": channel} | envelope | fields
    )


def test_publication_without_a_body_is_whole() -> None:
    message = read(messages.item(Publication("a", HERE, "x", 0, b"")))
    assert message["offset"] == 42
    assert parse_instant(message["time"]) == 0


def test_welcome() -> None:
    assert read(
        messages.welcome(connection="Zk3", ping_interval_ms=25000, time_ms=0, version="0.1.0")
    ) == {
        "type": "welcome",
        "connection": "Zk3",
        "ping_interval_ms": 25000,
        "time": "1970-01-01T00:00:00.000Z",
        "version": "0.1.0",
    }


def test_subscribed_says_where_and_whether_all_was_there() -> None:
    assert read(messages.subscribed("a", position=HERE, gap=None)) == {
        "type": "subscribed",
        "channel": "a",
        "position": "k3Jd9wQa:42",
        "recovered": True,
    }


def test_subscribed_names_both_ends_of_a_gap() -> None:
    message = read(messages.subscribed("alerts", position=HERE, gap=GAP, ref="r"))
    assert message["recovered"] is False
    assert message["gap"] == {"after": "k3Jd9wQa:42", "before": "k3Jd9wQa:45"}
    assert message["ref"] == "r"


def test_subscribed_to_an_ephemeral_channel_has_no_position() -> None:
    message = read(messages.subscribed("a", position=None, gap=None))
    assert message["position"] is None
    assert message["recovered"] is None


@pytest.mark.parametrize("after", [None, HERE])
def test_gap_names_both_ends(after: Position | None) -> None:
    assert read(messages.item(Gap("alerts", after, NEXT))) == {
        "type": "gap",
        "channel": "alerts",
        "after": after and "k3Jd9wQa:42",
        "before": "k3Jd9wQa:45",
    }


@given(refs)
def test_ref_is_echoed_and_left_out_where_there_was_none(ref: str | int | None) -> None:
    answers = [
        messages.subscribed("a", position=HERE, gap=None, ref=ref),
        messages.unsubscribed("a", code=0, reason="you asked", ref=ref),
        messages.error(Draining("Soon."), ref),
    ]
    for answer in map(read, answers):
        assert ("ref" in answer) == (ref is not None)
        assert answer.get("ref") == ref
    reply = read(messages.reply(b'{"time":"now"}', ref))
    assert reply == {"type": "reply", "ref": ref, "result": {"time": "now"}}


def test_unsubscribed() -> None:
    assert read(messages.unsubscribed("a", code=4001, reason="revoked")) == {
        "type": "unsubscribed",
        "channel": "a",
        "code": 4001,
        "reason": "revoked",
    }


def test_error_is_its_description() -> None:
    refusal = BadField("title: no.", field="title")
    assert read(messages.error(refusal)) == {"type": "error", **refusal.describe()}


def test_reconnect() -> None:
    assert read(messages.reconnect(1234)) == {"type": "reconnect", "after_ms": 1234}


# --- history ---


def page(**changes: Any) -> dict[str, Any]:
    publications = [
        Publication("alerts", Position("e", offset), f"n{offset}", 0, b'"message":"x"')
        for offset in (3, 4)
    ]
    fields: dict[str, Any] = {
        "start": Position("e", 2),
        "head": Position("e", 9),
        "publications": publications,
    }
    parsed: dict[str, Any] = json.loads(messages.history(History("alerts", **fields | changes)))
    return parsed


def test_history_is_a_page_with_its_head() -> None:
    read = page()
    assert [publication["offset"] for publication in read.pop("publications")] == [3, 4]
    assert read == {"channel": "alerts", "position": "e:9", "recovered": True, "next": None}


def test_next_page_begins_after_the_last_of_this_one() -> None:
    assert page(more=True)["next"] == "e:4"
    assert page(more=True, publications=[])["next"] == "e:2"


def test_history_tells_of_a_gap() -> None:
    read = page(gap=GAP)
    assert read["recovered"] is False
    assert read["gap"] == {"after": "k3Jd9wQa:42", "before": "k3Jd9wQa:45"}


def test_history_of_an_ephemeral_channel_is_empty() -> None:
    assert page(start=None, head=None, publications=()) == {
        "channel": "alerts",
        "position": None,
        "recovered": None,
        "next": None,
        "publications": [],
    }
