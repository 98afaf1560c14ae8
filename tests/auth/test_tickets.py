from __future__ import annotations

import json

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.auth.shelf import MemoryShelf
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


@pytest.fixture
def shelf() -> MemoryShelf:
    return MemoryShelf()


@pytest.fixture
def tickets(shelf: MemoryShelf) -> Tickets:
    return Tickets(shelf)


async def test_ticket_is_good_once(tickets: Tickets, shelf: MemoryShelf) -> None:
    text = await tickets.issue(USER, 30)
    assert looks_like_ticket(text)
    assert await tickets.redeem(text) == USER
    assert await tickets.redeem(text) is None
    assert len(shelf) == 0


async def test_tickets_have_256_random_bits(shelf: MemoryShelf) -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    text = await Tickets(shelf, random).issue(ANYBODY, 30)
    assert asked == [32]
    assert text == "ticket_" + bytes(range(32)).hex()


async def test_what_is_kept_is_not_the_ticket(tickets: Tickets, shelf: MemoryShelf) -> None:
    text = await tickets.issue(USER, 30)
    assert text.removeprefix("ticket_") not in repr(vars(shelf))


@pytest.mark.parametrize(
    "text", ["", "ticket_", "ticket_" + "0" * 63, "ticket_" + "0" * 64 + "\n", "ticket_" + "G" * 64]
)
async def test_any_other_text_is_no_ticket(tickets: Tickets, shelf: MemoryShelf, text: str) -> None:
    await tickets.issue(USER, 30)
    assert await tickets.redeem(text) is None
    assert not looks_like_ticket(text)
    assert await tickets.redeem("ticket_" + "0" * 64) is None
    assert len(shelf) == 1


@pytest.mark.parametrize("identity", [USER, KEY, ANYBODY], ids=lambda identity: identity.kind)
def test_identity_goes_through_json_and_comes_back(identity: Identity) -> None:
    assert unpack(pack(identity)) == identity
    assert json.loads(pack(identity))["kind"] == identity.kind
