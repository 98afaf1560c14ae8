from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from notifier.errors import (
    BadChannel,
    BadField,
    BadJSON,
    BadMessage,
    CommandsTooFast,
    UnknownField,
    UnknownType,
)
from notifier.session import (
    MAX_STRIKES,
    Close,
    Ping,
    Publish,
    ReadHistory,
    ReadPresence,
    Send,
    Session,
    State,
    Step,
    Subscribe,
    Unsubscribe,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3)
    ),
    max_leaves=8,
)
member_names = st.sampled_from(
    ["type", "channel", "since", "limit", "ref", "message", "data", "chanel", "\u202e"]
)
kinds = st.sampled_from(
    ["subscribe", "unsubscribe", "publish", "history", "ping", "pign", "welcome"]
)
objects = st.dictionaries(
    member_names, kinds | json_values | st.sampled_from(["alerts", "-20", "a b", "\ud800"])
)  # fmt: skip
arriving = st.one_of(
    st.text(st.characters()),
    st.binary(),
    json_values.map(json.dumps),
    objects.map(json.dumps),
    objects.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.sampled_from(["1e400", '{"type":1e400}', "[" * 300, '{"a":' * 300, "9" * 5000, "\x00"]),
)


def step(message: Any, session: Session | None = None) -> Step:
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    (step,) = (session or Session()).receive(text)
    return step


def refusal(message: Any, session: Session | None = None) -> dict[str, Any]:
    answer = step(message, session)
    assert isinstance(answer, Send)
    parsed: dict[str, Any] = json.loads(answer.message.decode())
    assert parsed["type"] == "error"
    return parsed


# --- commands ---


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"type": "subscribe", "channel": "a"}, Subscribe("a", None)),
        ({"type": "subscribe", "channel": "a", "since": "all", "ref": 1}, Subscribe("a", "all", 1)),
        ({"type": "subscribe", "channel": "a", "since": -20}, Subscribe("a", "-20")),
        ({"type": "subscribe", "channel": "a", "since": None}, Subscribe("a", None)),
        (
            {"type": "subscribe", "channel": "b:*", "presence": True, "ref": 1},
            Subscribe("b:*", None, 1, presence=True),
        ),
        ({"type": "subscribe", "channel": "a", "presence": None}, Subscribe("a", None)),
        ({"type": "unsubscribe", "channel": "a", "ref": "x"}, Unsubscribe("a", "x")),
        ({"type": "presence", "channel": "a", "ref": 3}, ReadPresence("a", 3)),
        ({"type": "history", "channel": "a"}, ReadHistory("a", None, None)),
        (
            {"type": "history", "channel": "a", "since": "-3", "limit": 5, "ref": 0},
            ReadHistory("a", "-3", 5, 0),
        ),
        ({"type": "ping"}, Ping()),
        ({"ref": "", "type": "ping"}, Ping("")),
        (
            {"type": "publish", "channel": "a", "message": "x", "id": "n", "ref": 2},
            Publish({"channel": "a", "message": "x", "id": "n"}, 2),
        ),
        ({"type": "publish"}, Publish({})),
    ],
)
def test_command_is_read(message: dict[str, Any], command: Step) -> None:
    assert step(message) == command


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ({}, UnknownType.code, None),
        ({"type": None}, UnknownType.code, None),
        ({"type": 5}, UnknownType.code, None),
        ({"type": ["ping"]}, UnknownType.code, None),
        ({"type": "reply"}, UnknownType.code, None),
        ({"type": "PING"}, UnknownType.code, None),
        ({"type": "subscribe"}, BadChannel.code, "channel"),
        ({"type": "subscribe", "channel": "a b"}, BadChannel.code, "channel"),
        ({"type": "subscribe", "channel": ["a"]}, BadChannel.code, "channel"),
        ({"type": "unsubscribe"}, BadChannel.code, "channel"),
        ({"type": "history", "channel": 5}, BadChannel.code, "channel"),
        ({"type": "subscribe", "channel": "a", "since": 1.5}, BadField.code, "since"),
        ({"type": "subscribe", "channel": "a", "since": True}, BadField.code, "since"),
        ({"type": "subscribe", "channel": "a", "since": ["all"]}, BadField.code, "since"),
        ({"type": "subscribe", "channel": "a", "presence": 1}, BadField.code, "presence"),
        ({"type": "presence"}, BadChannel.code, "channel"),
        ({"type": "presence", "channel": "b:*"}, BadChannel.code, "channel"),
        ({"type": "history", "channel": "a", "limit": 0}, BadField.code, "limit"),
        ({"type": "history", "channel": "a", "limit": -1}, BadField.code, "limit"),
        ({"type": "history", "channel": "a", "limit": True}, BadField.code, "limit"),
        ({"type": "history", "channel": "a", "limit": 1.0}, BadField.code, "limit"),
        ({"type": "history", "channel": "a", "limit": "5"}, BadField.code, "limit"),
        ({"type": "ping", "chanel": "a"}, UnknownField.code, "chanel"),
        ({"type": "subscribe", "channel": "a", "limit": 5}, UnknownField.code, "limit"),
        ({"type": "publish", "mesage": "x"}, UnknownField.code, "mesage"),
        ({"type": "ping", "ref": 1.5}, BadField.code, "ref"),
        ({"type": "ping", "ref": True}, BadField.code, "ref"),
        ({"type": "ping", "ref": ["x"]}, BadField.code, "ref"),
        ({"type": "ping", "ref": 2**63}, BadField.code, "ref"),
        ({"type": "ping", "ref": "x" * 201}, BadField.code, "ref"),
    ],
)
def test_broken_command_is_refused_and_the_connection_stays(
    message: dict[str, Any], code: int, field: str | None
) -> None:
    session = Session()
    for _ in range(2 * MAX_STRIKES):
        answer = refusal(message, session)
        assert (answer["code"], answer.get("field")) == (code, field)
    assert step({"type": "ping"}, session) == Ping()


def test_nearest_known_name_is_told() -> None:
    assert refusal({"type": "subscirbe", "channel": "a"})["nearest"] == "subscribe"
    assert refusal({"type": "subscribe", "chanel": "a"})["nearest"] == "channel"
    assert refusal({"type": "publish", "mesage": "a"})["nearest"] == "message"


def test_refusal_carries_the_ref() -> None:
    assert refusal({"type": "nothing", "ref": 7})["ref"] == 7
    assert refusal({"type": "subscribe", "channel": "", "ref": "r"})["ref"] == "r"
    assert "ref" not in refusal({"type": "nothing"})


@pytest.mark.parametrize(
    "message",
    [
        {"type": "x" * 1_000_000},
        {"type": ["x" * 1_000_000]},
        {"type": "ping", "x" * 1_000_000: 1},
        {"type": "subscribe", "channel": "x" * 1_000_000},
        {"type": "ping", "ref": "x" * 1_000_000},
        "x" * 1_000_000,
        '{"type":' + "9" * 4300 + "}",
    ],
)
def test_refusal_of_something_endless_is_short(message: Any) -> None:
    assert len(json.dumps(refusal(message))) < 1000


# --- strikes ---


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", BadJSON.code),
        ("", BadJSON.code),
        ("[]", BadMessage.code),
        (b"{}", BadMessage.code),
    ],
)
def test_who_speaks_something_else_is_told_so_and_then_closed(
    message: str | bytes, code: int
) -> None:
    session = Session()
    for _ in range(MAX_STRIKES - 1):
        assert refusal(message, session)["code"] == code
        assert session.state is State.OPEN
    said, close = session.receive(message)
    assert isinstance(said, Send)
    assert json.loads(said.message)["code"] == code
    assert isinstance(close, Close)
    assert 4500 <= close.code <= 4999
    assert len(close.reason.encode()) <= 123
    assert session.state is State.CLOSED
    assert session.receive('{"type":"ping"}') == []


def test_strikes_are_forgiven_by_one_object() -> None:
    session = Session()
    for _ in range(5):
        for _ in range(MAX_STRIKES - 1):
            session.receive("hello")
        assert session.receive('{"type":"nothing"}')
    assert session.state is State.OPEN


# --- leaving ---


def test_drain_is_told_once() -> None:
    session = Session()
    (told,) = session.drain(1234)
    assert json.loads(told.message) == {"type": "reconnect", "after_ms": 1234}
    assert session.drain(1234) == []


def test_who_was_told_to_leave_may_do_all_but_subscribe() -> None:
    session = Session()
    session.drain(1000)
    answer = refusal({"type": "subscribe", "channel": "a", "ref": 1}, session)
    assert (answer["code"], answer["temporary"], answer["ref"]) == (50302, True, 1)
    assert step({"type": "unsubscribe", "channel": "a"}, session) == Unsubscribe("a")
    assert step({"type": "publish", "message": "x"}, session) == Publish({"message": "x"})
    assert step({"type": "history", "channel": "a"}, session) == ReadHistory("a", None, None)
    assert step({"type": "ping"}, session) == Ping()


def test_closed_session_is_told_nothing() -> None:
    for end in (lambda session: session.close(4000, "bye"), Session.lost):
        session = Session()
        end(session)
        assert session.drain(1000) == []
        assert session.receive('{"type":"ping"}') == []
        assert session.receive("hello") == []


# --- whatever comes ---


@given(arriving)
def test_anything_is_answered_with_one_step(message: str | bytes) -> None:
    (answer,) = Session().receive(message)
    if isinstance(answer, Send):
        assert json.loads(answer.message.decode())["type"] == "error"
    else:
        assert not isinstance(answer, Close)


@pytest.mark.parametrize(
    ("message", "ref"),
    [
        ('{"type": "publish", "ref": "p1", "message": "x"}', "p1"),
        ('{"type": "nonsense", "ref": 7}', 7),
        ('{"type": "ping"}', None),
        ('{"type": "ping", "ref": []}', None),
        ("no JSON", None),
        (b"bytes", None),
        ('{"type": "publish", "ref": 1, "message": "' + "x" * 5000 + '"}', None),
    ],
)
def test_what_is_declined_has_its_ref_where_that_is_cheap(message: str | bytes, ref: Any) -> None:
    session = Session()
    refusal = CommandsTooFast("Slower.", limit=1, retry_after_ms=5)
    for _ in range(2 * MAX_STRIKES):
        (told,) = session.decline(message, refusal)
        error = json.loads(told.message)
        assert (told.code, error["code"], error.get("ref")) == (42905, 42905, ref)
        assert error["retry_after_ms"] == 5
    session.lost()
    assert session.decline(message, refusal) == []


class AnyConversation(RuleBasedStateMachine):
    """It never raises, never answers after close, and closes only those who don't speak it."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session()
        self.closed = False
        self.leaving = False
        self.strikes = 0

    @rule(message=arriving)
    def receive(self, message: str | bytes) -> None:
        steps = self.session.receive(message)
        if self.closed:
            assert steps == []
            return
        assert steps
        *_, last = steps
        if self._is_object(message):
            self.strikes = 0
            assert len(steps) == 1
        else:
            self.strikes += 1
            assert isinstance(steps[0], Send)
        assert isinstance(last, Close) == (self.strikes == MAX_STRIKES)
        assert not (self.leaving and isinstance(last, Subscribe))
        self.closed = isinstance(last, Close)

    @rule(message=objects.map(json.dumps))
    def receive_object(self, message: str) -> None:
        self.receive(message)

    @rule()
    def drain(self) -> None:
        told = self.session.drain(5)
        assert len(told) == (not self.closed and not self.leaving)
        self.leaving = True

    @rule(lost=st.booleans())
    def end(self, lost: bool) -> None:
        if lost:
            self.session.lost()
        else:
            assert self.session.close(4001, "bye") == Close(4001, "bye")
        self.closed = True

    @invariant()
    def state_is_told(self) -> None:
        expected = State.LEAVING if self.leaving else State.OPEN
        assert self.session.state is (State.CLOSED if self.closed else expected)

    def _is_object(self, message: str | bytes) -> bool:
        """By another parser; what the two read differently (NaN, half characters) is no object."""
        if isinstance(message, bytes):
            return False
        try:
            message.encode()

            def refuse(_: str) -> None:
                raise ValueError

            value = json.loads(message, parse_constant=refuse)
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict)


TestAnyConversation = AnyConversation.TestCase
