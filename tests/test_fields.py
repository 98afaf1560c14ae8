"""What a producer may send, and what is said of all else."""

from __future__ import annotations

import base64
import difflib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.errors import BadField, NotifierError, UnknownField
from notifier.fields import FIELDS
from notifier.notification import Notification

NOW_MS = 1795368240123

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def own_fields(**fields: Any) -> dict[str, Any]:
    """The publication's own members, as a reader sees them."""
    draft = Notification.parse(fields).draft("a", id="x", now_ms=NOW_MS)
    read: dict[str, Any] = json.loads(b"{" + draft.body + b"}")
    return read


def refused(fields: object) -> NotifierError:
    with pytest.raises(NotifierError) as caught:
        Notification.parse(fields)
    return caught.value


# --- what is accepted ---


def test_every_field_reaches_the_reader_as_it_was_sent() -> None:
    fields: dict[str, Any] = {
        "title": "Disk full",
        "message": "on db1\n\u202e\x00é😀",
        "priority": 4,
        "tags": ["disk", "db"],
        "click": "https://db1.example/?q=1",
        "icon": "/static/disk.png",
        "actions": [
            {"action": "view", "label": "Open", "url": "https://db1.example"},
            {
                "action": "http",
                "label": "Clean",
                "url": "/clean",
                "method": "POST",
                "headers": {"X-É": "1"},
                "body": "",
            },
        ],
        "data": {"free": 0.5, "big": 10**30, "none": None},
        "key": "disk:db1",
        "content_type": "image/png",
        "data_base64": "QUJD",
    }
    envelope = {"channel": "alerts", "id": "n1"}
    assert own_fields(**fields, **envelope) == fields
    assert fields.keys() | envelope.keys() | {"channels", "expires"} == FIELDS


@given(json_values)
def test_data_of_any_json_reaches_the_reader(data: Any) -> None:
    assert own_fields(data=data) == {"data": data}


def test_data_may_be_null_and_all_else_that_is_null_is_absent() -> None:
    assert own_fields(data=None) == {"data": None}
    assert own_fields(message="x", title=None, tags=None) == {"message": "x"}


@pytest.mark.parametrize(
    ("value", "priority"),
    [(1, 1), (5, 5), ("3", 3), (" 4 ", 4), ("min", 1), ("LOW", 2), ("default", 3), ("high", 4),
     ("max", 5), ("urgent", 5)],
)  # fmt: skip
def test_priority_is_a_number_or_its_word(value: object, priority: int) -> None:
    assert own_fields(message="x", priority=value)["priority"] == priority


def test_tags_may_be_one_text_with_commas() -> None:
    assert own_fields(message="x", tags=" disk, db ,,")["tags"] == ["disk", "db"]


@pytest.mark.parametrize(
    "url",
    ["http://a.example", "HTTPS://a.example", "mailto:a@b.example", "tel:+431", "geo:1,2", "/x"],
)
def test_click_may_be_a_link_of_a_harmless_kind(url: str) -> None:
    assert own_fields(message="x", click=url)["click"] == url


# --- what is refused ---


@pytest.mark.parametrize("fields", [None, [], "message", 5, b"{}", [["message", "x"]]])
def test_notification_is_an_object(fields: object) -> None:
    assert isinstance(refused(fields), BadField)


@pytest.mark.parametrize(
    "fields", [{}, {"channel": "a"}, {"message": None}, {"priority": 5, "tags": ["a"]}]
)
def test_notification_has_something_to_show(fields: dict[str, Any]) -> None:
    assert "nothing to show" in refused(fields).message


BROKEN: list[tuple[str, object]] = [
    ("title", 5),
    ("title", "x" * 1001),
    ("title", "\ud800"),
    ("message", 5),
    ("message", ["x"]),
    ("message", "half \ud83d"),
    ("priority", 0),
    ("priority", 6),
    ("priority", 10**400),
    ("priority", -1),
    ("priority", 3.0),
    ("priority", True),
    ("priority", "٣"),
    ("priority", "0003"),
    ("priority", "highest"),
    ("priority", []),
    ("priority", float("inf")),
    ("tags", 5),
    ("tags", {"a": 1}),
    ("tags", ["x"] * 51),
    ("tags", [""]),
    ("tags", ["x" * 101]),
    ("tags", ["a", 5]),
    ("tags", ["\ud800"]),
    ("click", "javascript:alert(1)"),
    ("click", " javascript:alert(1)"),
    ("click", "java\nscript:alert(1)"),
    ("click", "JAVASCRIPT:alert(1)"),
    ("click", "data:text/html,x"),
    ("click", "file:///etc/passwd"),
    ("click", "a.example"),
    ("click", ""),
    ("click", "http://["),
    ("click", "http://a/" + "x" * 2048),
    ("click", "http://\ud800"),
    ("icon", "mailto:a@b.example"),
    ("icon", "data:image/png;base64,"),
    ("icon", "http://["),
    ("actions", {}),
    ("actions", [5]),
    ("actions", [{"action": "view", "label": "x", "url": "/"}] * 11),
    ("actions", [{"action": "run", "label": "x", "url": "/"}]),
    ("actions", [{"action": "view", "label": "", "url": "/"}]),
    ("actions", [{"action": "view", "label": "x", "url": "javascript:1"}]),
    ("actions", [{"action": "view", "label": "x"}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "method": "TRACE"}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "headers": {"a": 1}}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "headers": {"a": "\ud800"}}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "headers": {"\ud800": "a"}}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "headers": {"function-x": 1}}]),
    ("actions", [{"action": "http", "label": "x", "url": "/", "body": "\udfff"}]),
    ("data", float("inf")),
    ("data", [1, {"a": float("-inf")}]),
    ("data", float("nan")),
    ("data", "\ud800"),
    ("data", {"\udc00": 1}),
    ("key", ""),
    ("key", "x" * 201),
    ("key", "a\u202eb"),
    ("key", "a\x00b"),
    ("id", "a\nb"),
    ("id", 5),
    ("id", "\ud800"),
    ("expires", 0),
    ("expires", -1),
    ("expires", True),
    ("expires", float("nan")),
    ("expires", float("inf")),
    ("expires", 10**400),
    ("expires", 11 * 366 * 86400),
    ("expires", "0"),
    ("expires", "1000w"),
    ("expires", "tomorrow"),
    ("expires", ""),
    ("expires", "2026-11-22"),
    ("expires", "9999-12-31T23:59:59-01:00"),
    ("expires", [10]),
    ("content_type", "a\r\nb"),
    ("content_type", "x" * 201),
    ("data_base64", "a"),
    ("data_base64", "QQ"),
    ("data_base64", "Q Q="),
    ("data_base64", "QQ==QQ=="),
    ("data_base64", "_-__"),
    ("data_base64", "é"),
    ("channels", "alerts"),
    ("channels", {}),
]


@pytest.mark.parametrize(("field", "value"), BROKEN)
def test_broken_field_is_refused_by_name(field: str, value: object) -> None:
    error = refused({"message": "x", field: value})
    assert isinstance(error, BadField)
    assert error.field.partition(".")[0] == field
    assert error.message.startswith(f"{field}")
    assert len(error.message) < 300
    json.dumps(error.describe(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mesage", "message"),
        ("TITLE", "title"),
        ("tag", "tags"),
        ("zzzzzz", None),
        ("", None),
        ("function-x", None),
        ("function-before[x]", None),
    ],
)
def test_unknown_field_is_refused_with_the_nearest_known(name: str, nearest: str | None) -> None:
    error = refused({name: "x"})
    assert isinstance(error, UnknownField)
    assert error.field == name
    assert error.facts.get("nearest") == nearest
    assert ("Did you mean" in error.message) == (nearest is not None)


def test_unknown_field_of_an_action_is_refused_with_the_nearest_known() -> None:
    action = {"action": "view", "lable": "x", "url": "/"}
    error = refused({"message": "x", "actions": [action]})
    assert isinstance(error, UnknownField)
    assert (error.field, error.nearest) == ("actions.0.lable", "label")


def test_endless_name_is_compared_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def no_matches(word: str, known: list[str], n: int) -> list[str]:
        compared.append(word)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", no_matches)
    refused({"x" * 10_000_000: 1})
    assert [len(word) for word in compared] == [60]


def test_refusal_of_endless_names_is_short() -> None:
    name = "x" * 10_000_000
    action = {"action": "http", "label": "x", "url": "/", "headers": {name: 1}}
    for error in (refused({name: 1}), refused({"message": "x", "actions": [action]})):
        assert len(json.dumps(error.describe())) < 1000


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), json_values, max_size=4))
def test_any_fields_are_a_draft_or_a_refusal(fields: dict[str, Any]) -> None:
    try:
        notification = Notification.parse(fields)
        notification.fingerprint()
        draft = notification.draft("a", id="x", now_ms=NOW_MS)
    except NotifierError as error:
        json.dumps(error.describe(), ensure_ascii=False).encode()
    else:
        json.loads(b"{" + draft.body + b"}")


def test_data_of_any_depth_is_a_draft_or_a_refusal() -> None:
    data: Any = 1
    outcomes = set()
    for _ in range(400):
        data = [data]
        try:
            Notification.parse({"data": data}).draft("a", id="x", now_ms=NOW_MS)
            outcomes.add("draft")
        except BadField:
            outcomes.add("refusal")
    assert outcomes == {"draft", "refusal"}


def test_ten_megabytes_of_message_are_taken() -> None:
    assert len(own_fields(message="x" * 10_000_000)["message"]) == 10_000_000


@given(st.binary())
def test_bytes_reach_the_reader(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert own_fields(data_base64=text, content_type="x/y")["data_base64"] == text
