"""Who waits before the door."""

from __future__ import annotations

from notifier.lobby import Lobby

PROXY, ONE, OTHER = "10.0.0.1", "192.0.2.1", "192.0.2.2"


def lobby(limit: int) -> Lobby:
    return Lobby(limit, lambda address: address == PROXY)


def test_an_address_has_so_many_and_a_proxy_as_many_as_it_needs() -> None:
    here = lobby(2)
    assert [here.enter(ONE) for _ in range(4)] == [True, True, False, False]
    assert here.enter(OTHER)
    assert all(here.enter(PROXY) for _ in range(10))
    here.leave(ONE)
    assert [here.enter(ONE) for _ in range(2)] == [True, False]


def test_where_there_is_no_limit_all_are_counted_and_let_in() -> None:
    here = lobby(0)
    assert all(here.enter(ONE) for _ in range(10))
    for _ in range(10):
        here.leave(ONE)
    assert not here._here
    assert not lobby(1)._here
