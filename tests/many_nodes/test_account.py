"""The account itself: what it must not let pass, and one node with the embedded broker."""

from __future__ import annotations

from typing import Any

import pytest

from notifier.notification import Position
from tests.many_nodes.account import Account, Balance, Entry, Ledger
from tests.many_nodes.fleet import PATIENCE, fleet
from tests.many_nodes.load import load


def subscribed(position: str, **more: Any) -> dict[str, Any]:
    message = {"type": "subscribed", "channel": "a", "position": position, "recovered": True}
    return message | more


def heard(position: str) -> dict[str, Any]:
    id = position.replace(":", "")
    return {"type": "notification", "channel": "a", "position": position, "id": id}


def gap(after: str | None, before: str) -> dict[str, Any]:
    return {"type": "gap", "channel": "a", "after": after, "before": before}


def account_of(*messages: dict[str, Any]) -> Account:
    account = Account("listener", ["a"])
    for message in messages:
        account.take(message)
    return account


def entries(*positions: str) -> list[Entry]:
    return [Entry(p.replace(":", ""), Position.parse(p)) for p in positions]


def balance_of(account: Account, *, acknowledged: list[Entry], stored: list[Entry]) -> Balance:
    ledger = Ledger()
    for id, place in acknowledged:
        ledger.acknowledge("p", {"id": id, "channel": "a", "position": str(place)})
    return Balance(ledger, [account], {"a": stored})


@pytest.mark.parametrize(
    "messages",
    [
        (subscribed("e:0"), heard("e:1"), heard("e:1")),
        (subscribed("e:0"), heard("e:2")),
        (subscribed("e:0"), heard("e:1"), heard("f:2")),
        (subscribed("e:0"), heard("e:1"), subscribed("e:2")),
        (subscribed("e:1"), subscribed("f:1")),
        (subscribed("e:5"), gap("e:3", "e:9")),
        (subscribed("e:1", gap={"after": None, "before": "e:2"}),),
        ({"type": "error", "code": 50301},),
    ],
    ids=["twice", "hole", "epoch", "skipped", "epoch-back", "not-there", "recovered-gap", "error"],
)
def test_account_refuses_what_no_listener_may_be_told(messages: tuple[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError):
        account_of(*messages)


def test_balance_is_exact_when_all_have_all() -> None:
    account = account_of(subscribed("e:0"), heard("e:1"), heard("e:2"))
    all_of_it = entries("e:1", "e:2")
    balance_of(account, acknowledged=all_of_it, stored=all_of_it).exact()


def test_balance_finds_what_was_acknowledged_and_is_not_stored() -> None:
    account = account_of(subscribed("e:0"), heard("e:1"))
    balance = balance_of(account, acknowledged=entries("e:1", "e:2"), stored=entries("e:1"))
    assert balance.rolled_back == 1
    with pytest.raises(AssertionError, match="not where they were said to be"):
        balance.exact()
    with pytest.raises(AssertionError, match="silence"):
        balance.truthful()


def test_gap_over_what_is_lost_is_truthful_and_not_exact() -> None:
    account = account_of(subscribed("e:0"), heard("e:1"), gap("e:1", "f:2"), heard("f:2"))
    stored = [Entry("e1", Position("f", 1)), *entries("f:2")]
    balance = balance_of(account, acknowledged=entries("e:1", "e:2", "f:2"), stored=stored)
    assert balance.truthful() == {"listener": 1}
    with pytest.raises(AssertionError):
        balance.exact()


def test_gap_over_what_can_still_be_had_is_not_truthful() -> None:
    account = account_of(subscribed("e:0"), gap("e:0", "e:2"), heard("e:2"))
    all_of_it = entries("e:1", "e:2")
    with pytest.raises(AssertionError, match="which is stored"):
        balance_of(account, acknowledged=all_of_it, stored=all_of_it).truthful()


def test_gap_elsewhere_does_not_excuse_what_is_missing() -> None:
    account = account_of(subscribed("e:0"), heard("e:1"), gap("e:1", "e:3"), heard("e:3"))
    with pytest.raises(AssertionError, match="silence"):
        balance_of(account, acknowledged=entries("e:3", "e:4"), stored=entries("e:3")).truthful()


@pytest.mark.gen_test(timeout=3 * PATIENCE)
async def test_account_is_exact_though_connections_break() -> None:
    with fleet("memory:") as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            for _ in range(3):
                await working.acknowledged(50)
                nodes.balancer.cut()
            balance = await working.finish()
            balance.exact()
            assert balance.ledger.count >= 150
