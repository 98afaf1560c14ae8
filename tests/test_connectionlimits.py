"""How many an address or a user may have, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.identity import ANYBODY, Identity
from notifier.config import Settings
from notifier.connectionlimits import ConnectionLimits
from notifier.errors import (
    ConnectingTooFast,
    TooManyConnectionsFromAddress,
    TooManyConnectionsOfUser,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"
ALICE, BOB = Identity("token", "alice"), Identity("token", "bob")


def limits(**settings: Any) -> ConnectionLimits:
    off = dict.fromkeys(
        (
            "max_connections_per_address",
            "max_connections_per_user",
            "max_new_connections_per_second",
        ),
        0,
    )
    return ConnectionLimits(Settings(**{**off, **settings}))


def test_an_address_has_so_many_and_one_more_when_one_leaves() -> None:
    here = limits(max_connections_per_address=2)
    for _ in range(2):
        here.check(HERE, ANYBODY, 0.0)
        here.enter(HERE, ANYBODY)
    with pytest.raises(TooManyConnectionsFromAddress, match="trusted_proxies") as refused:
        here.check(HERE, ANYBODY, 0.0)
    assert (refused.value.limit, refused.value.retry_after_ms) == (2, 10_000)
    here.check(THERE, ANYBODY, 0.0)
    here.leave(HERE, ANYBODY)
    here.check(HERE, ANYBODY, 0.0)


def test_a_network_of_ipv6_is_one_address() -> None:
    here = limits(max_connections_per_address=1)
    here.enter("2001:db8:1:2::1", ANYBODY)
    with pytest.raises(TooManyConnectionsFromAddress, match="2001:db8:1:2::/64"):
        here.check("2001:db8:1:2:ffff::9", ANYBODY, 0.0)
    here.check("2001:db8:1:3::1", ANYBODY, 0.0)
    here.leave("2001:db8:1:2::1", ANYBODY)
    here.check("2001:db8:1:2:ffff::9", ANYBODY, 0.0)


def test_a_user_has_so_many_from_wherever_and_nobody_is_no_user() -> None:
    here = limits(max_connections_per_user=1)
    here.enter(HERE, ALICE)
    with pytest.raises(TooManyConnectionsOfUser, match="alice"):
        here.check(THERE, ALICE, 0.0)
    here.check(HERE, BOB, 0.0)
    here.check(HERE, Identity("key", "alice"), 0.0)
    for _ in range(5):
        here.check(HERE, ANYBODY, 0.0)
        here.enter(HERE, ANYBODY)


def test_an_address_comes_in_a_burst_and_then_so_fast() -> None:
    here = limits(max_new_connections_per_second=2)
    for _ in range(20):
        here.check(HERE, ANYBODY, 0.0)
    with pytest.raises(ConnectingTooFast) as refused:
        here.check(HERE, ANYBODY, 0.0)
    assert refused.value.retry_after_ms == 500
    here.check(THERE, ANYBODY, 0.0)
    here.check(HERE, ANYBODY, 0.5)


def test_who_is_refused_for_another_reason_has_not_come() -> None:
    here = limits(max_connections_per_address=1, max_new_connections_per_second=1)
    here.enter(HERE, ANYBODY)
    for _ in range(100):
        with pytest.raises(TooManyConnectionsFromAddress):
            here.check(HERE, ANYBODY, 0.0)
    here.leave(HERE, ANYBODY)
    here.check(HERE, ANYBODY, 0.0)


@given(st.lists(st.tuples(st.sampled_from([HERE, THERE, "2001:db8::1"]),
                          st.sampled_from([ALICE, BOB, ANYBODY])), max_size=50),
       st.randoms())  # fmt: skip
def test_when_all_have_left_nothing_is_kept_of_them(
    came: list[tuple[str, Identity]], random: Any
) -> None:
    here = limits()
    for address, identity in came:
        here.enter(address, identity)
    random.shuffle(came)
    for address, identity in came:
        here.leave(address, identity)
    assert not here._addresses and not here._users
