from __future__ import annotations

import json

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.auth.shelf import MemoryShelf
from notifier.auth.tickets import Tickets, looks_like_ticket, pack, unpack
from notifier.auth.unspent import Unspent
from notifier.errors import BrokerUnavailable, TooManyTicketsOfUser

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

    text = await Tickets(shelf, random=random).issue(ANYBODY, 30)
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


async def test_what_is_shown_counts_no_more_and_what_was_refused_was_never_kept(
    shelf: MemoryShelf,
) -> None:
    tickets = Tickets(shelf, Unspent(1))
    text = await tickets.issue(USER, 30)
    with pytest.raises(TooManyTicketsOfUser):
        await tickets.issue(USER, 30)
    assert len(shelf) == 1
    await tickets.issue(KEY, 30)
    assert await tickets.redeem(text) == USER
    await tickets.issue(USER, 30)


async def test_a_ticket_of_which_nobody_knows_whether_it_is_kept_counts() -> None:
    tickets = Tickets(Away(), Unspent(1))
    with pytest.raises(BrokerUnavailable):
        await tickets.issue(USER, 30)
    with pytest.raises(TooManyTicketsOfUser):
        await tickets.issue(USER, 30)


class Away:
    """A shelf in a Redis that does not answer."""

    async def put(self, name: str, thing: bytes, seconds: float) -> None:
        raise BrokerUnavailable("it is away")

    async def take(self, name: str) -> bytes | None:
        raise BrokerUnavailable("it is away")
