from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.auth.tickets import Tickets, looks_like_ticket, pack, unpack

USER = Identity(
    "token",
    "42",
    {Scope.SUBSCRIBE: Reach.of(["alerts", "builds:*"]), Scope.PUBLISH: Reach.of(["*:é"])},
    expires_at=2000.0,
    credential_id="t1",
    info='{"name":"é"}'.encode(),
)
KEY = Identity("key", "ci", {Scope.ADMIN: Reach()})


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(clock, secrets.token_bytes, limit=3)


def test_ticket_is_good_once(tickets: Tickets) -> None:
    text = tickets.issue(USER, 30)
    assert looks_like_ticket(text) and text.startswith("ticket_")
    assert tickets.redeem(text, 1000) == USER
    assert tickets.redeem(text, 1000) is None
    assert len(tickets) == 0


def test_ticket_is_good_for_its_time_and_not_longer_than_the_token(tickets: Tickets) -> None:
    texts = [tickets.issue(USER, 30) for _ in range(2)]
    assert tickets.redeem(texts[0], 1029.9) == USER
    assert tickets.redeem(texts[1], 1030) is None
    late = tickets.issue(USER, 5000)
    assert tickets.redeem(late, 2000) is None


def test_over_the_limit_the_oldest_is_good_no_longer(tickets: Tickets) -> None:
    texts = [tickets.issue(KEY, 30) for _ in range(4)]
    assert len(tickets) == 3
    assert [tickets.redeem(text, 1000) for text in texts] == [None, KEY, KEY, KEY]


def test_those_that_ended_make_room_for_new_ones(tickets: Tickets, clock: Clock) -> None:
    first = tickets.issue(KEY, 30)
    clock.now = 1030
    texts = [tickets.issue(KEY, 30) for _ in range(3)]
    assert tickets.redeem(first, 1029) is None
    assert all(tickets.redeem(text, 1030) for text in texts)


def test_tickets_have_256_random_bits(clock: Clock) -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    text = Tickets(clock, random).issue(ANYBODY, 30)
    assert asked == [32]
    assert text == "ticket_" + bytes(range(32)).hex()


def test_what_is_kept_is_not_the_ticket(tickets: Tickets) -> None:
    text = tickets.issue(USER, 30)
    assert text.removeprefix("ticket_") not in repr(vars(tickets))


@given(st.text() | st.from_regex(r"ticket_[0-9a-f]{64}\n?"))
def test_any_other_text_is_no_ticket(text: str) -> None:
    tickets = Tickets(Clock(), secrets.token_bytes)
    tickets.issue(USER, 30)
    assert tickets.redeem(text, 1000) is None
    assert len(tickets) == 1


@pytest.mark.parametrize("identity", [USER, KEY, ANYBODY], ids=lambda identity: identity.kind)
def test_identity_goes_through_json_and_comes_back(identity: Identity) -> None:
    assert unpack(pack(identity)) == identity
    assert json.loads(pack(identity))["kind"] == identity.kind
