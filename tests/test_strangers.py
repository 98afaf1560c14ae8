"""WebSockets of nobody in particular that do nothing, on a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from notifier.auth.identity import Identity
from notifier.auth.rules import Access, Rule, Rules
from notifier.errors import AuthenticationTimeout
from notifier.strangers import Strangers
from notifier.wire.resume import Latest
from tests.nodebench import Bench

GUARDED = Access(Rules.all(Rule.GRANTED), {}, authenticates=True)
OPEN_BY_RULE = Access(Rules.all(Rule.PUBLIC), {}, authenticates=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(access=OPEN_BY_RULE)
    yield bench
    bench.end()


def swept(bench: Bench, seconds: float) -> None:
    bench.now = seconds
    bench.node.sweep()


def test_one_that_does_nothing_is_told_to_come_back_with_a_credential(bench: Bench) -> None:
    one = bench.connect()
    swept(bench, 14.9)
    assert not one.ended
    swept(bench, 15)
    swept(bench, 100)
    (refusal,) = one.ended
    assert isinstance(refusal, AuthenticationTimeout)
    assert (refusal.close_code, refusal.temporary) == (4408, True)
    assert bench.node.counts.errors[40802] == 1


def test_one_that_has_shown_who_it_is_may_do_nothing_at_all(bench: Bench) -> None:
    one = bench.connect()
    bench.node.connections.renew(one, Identity("token", "42"))
    swept(bench, 1000)
    assert not one.ended and not bench.node.connections.strangers


def test_one_that_follows_something_may_stay_until_it_follows_nothing_for_as_long(
    bench: Bench,
) -> None:
    one = bench.connect()
    bench.subscribe(one, "a", Latest())
    bench.loop.run()
    for now in (15, 30, 45):
        swept(bench, now)
    bench.node.unsubscribe(one.sink, "a")
    bench.subscribe(one, "b", Latest())
    bench.loop.run()
    swept(bench, 60)
    bench.node.unsubscribe(one.sink, "b")
    swept(bench, 75)
    assert not one.ended
    swept(bench, 90)
    assert len(one.ended) == 1


def test_one_that_follows_a_pattern_or_does_what_strangers_may_stays(bench: Bench) -> None:
    one, two = bench.connect(), bench.connect()
    bench.follow(one, "a:*")
    bench.loop.run()
    for now in (15, 30, 45, 60):
        bench.node.connections.strangers.useful(two.id)
        swept(bench, now)
    assert not one.ended and not two.ended


def test_one_that_is_gone_is_forgotten(bench: Bench) -> None:
    one = bench.connect()
    bench.node.connections.strangers.useful(one.id)
    bench.node.connections.remove(one)
    assert not bench.node.connections.strangers
    swept(bench, 100)
    assert not one.ended


@pytest.mark.parametrize("access", [None, GUARDED])
def test_where_nobody_is_asked_or_no_limit_is_set_all_may_stay(access: Access | None) -> None:
    bench = Bench(authenticate_timeout=0, access=access) if access else Bench()
    try:
        one = bench.connect()
        swept(bench, 100_000)
        assert not one.ended and not bench.node.connections.strangers
    finally:
        bench.end()


def test_of_those_that_are_gone_nothing_is_kept() -> None:
    strangers = Strangers(15)
    for n in range(100):
        strangers.came(str(n), n)
        strangers.useful(str(n))
        strangers.forget(str(n))
        strangers.useful(str(n))
    assert not strangers and not strangers._useful
