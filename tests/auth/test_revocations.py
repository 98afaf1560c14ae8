from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.identity import Identity
from notifier.auth.revocations import Revocation, Revocations, UserRevocation
from notifier.errors import TooManyRevocations


def test_id_is_revoked_until_its_time() -> None:
    revocations = Revocations()
    revocations.revoke("a", until=100, now=0)
    assert revocations.is_revoked("a", 99.9)
    assert not revocations.is_revoked("a", 100)
    assert not revocations.is_revoked("b", 0)


def test_longer_time_counts_and_a_shorter_one_takes_nothing_back() -> None:
    revocations = Revocations()
    for until in (100, 300, 200):
        revocations.revoke("a", until, now=0)
    assert revocations.is_revoked("a", 299)
    revocations.revoke("b", 500, now=150)  # what ended at 100 was another entry of the same id
    assert revocations.is_revoked("a", 299)


def test_what_has_ended_is_forgotten() -> None:
    revocations = Revocations()
    for number in range(100):
        revocations.revoke(str(number), until=100 + number, now=0)
    revocations.revoke("last", until=1000, now=150)
    assert len(revocations) == 50
    revocations.revoke("past", until=150, now=150)
    assert len(revocations) == 50
    assert revocations.forgotten == 0


def test_over_the_limit_those_that_end_first_are_forgotten_and_counted() -> None:
    revocations = Revocations(limit=3)
    for token_id, until in (("c", 300), ("a", 100), ("d", 400), ("b", 200)):
        revocations.revoke(token_id, until, now=0)
    assert [token_id for token_id in "abcd" if revocations.is_revoked(token_id, 0)] == list("bcd")
    assert revocations.forgotten == 1


def test_there_is_room_for_what_is_known_and_for_what_takes_the_place_of_an_ended_one() -> None:
    revocations = Revocations(limit=2)
    tokens = [Revocation(name, 100 * n) for n, name in enumerate("abc", start=1)]
    users = [UserRevocation(name, 50, 100 * n) for n, name in enumerate("abc", start=1)]
    for kind in (tokens, users):
        for each in kind[:2]:
            revocations.check_room(each, 0)
            revocations.add(each, 0)
    for kind in (tokens, users):
        with pytest.raises(TooManyRevocations) as refusal:
            revocations.check_room(kind[2], 99)
        assert refusal.value.limit == 2
        revocations.check_room(kind[0], 99)
    for kind in (tokens, users):
        revocations.check_room(kind[2], 100)
    assert list(revocations.users_in_force(100)) == users[1:2], "room is made among both alike"


TIMES = st.integers(0, 50)


@given(st.lists(st.tuples(st.integers(0, 5), TIMES, TIMES)), TIMES)
def test_it_is_what_a_plain_table_would_be(steps: list[tuple[int, int, int]], end: int) -> None:
    revocations, table, clock = Revocations(), dict[str, int](), 0
    for token, until, later in steps:
        clock = max(clock, later)
        revocations.revoke(str(token), until, clock)
        table[str(token)] = max(table.get(str(token), 0), until)
    clock = max(clock, end)
    for token_id in table:
        assert revocations.is_revoked(token_id, clock) == (table[token_id] > clock)


def test_revoking_one_id_again_and_again_stays_bounded() -> None:
    revocations = Revocations(limit=10)
    for number in range(1, 10_000):
        revocations.revoke("a", until=number, now=0)
    assert len(revocations) == 1
    assert len(revocations._tokens._heap) <= 20
    assert revocations.is_revoked("a", 9998)


def test_those_in_force_can_be_told() -> None:
    revocations = Revocations()
    revocations.revoke("a", until=100, now=0)
    revocations.revoke("b", until=200, now=0)
    assert list(revocations.in_force(99)) == [Revocation("a", 100), Revocation("b", 200)]
    assert list(revocations.in_force(100)) == [Revocation("b", 200)]


def test_it_is_told_whether_that_was_news() -> None:
    revocations = Revocations(limit=2)
    told = [
        (Revocation("a", 100), True),
        (Revocation("a", 100), False),
        (Revocation("a", 90), False),
        (Revocation("a", 110), True),
        (Revocation("past", 50), False),
        (Revocation("b", 200), True),
        (Revocation("first to end", 60), False),
        (UserRevocation("a", 40, 100), True),
        (UserRevocation("a", 30, 90), False),
        (UserRevocation("a", 45, 90), True),
        (UserRevocation("a", 45, 110), True),
        (UserRevocation("past", 40, 50), False),
        (UserRevocation("b", 40, 200), True),
        (UserRevocation("first to end", 40, 60), False),
        (UserRevocation("c", 40, 300), True),
    ]
    assert [(each, revocations.add(each, now=50)) for each, _ in told] == told
    assert revocations._before.keys() == {"b", "c"}


def test_what_is_told_in_turns_may_change_meanwhile() -> None:
    revocations = Revocations()
    for name in "ab":
        revocations.revoke(name, until=100, now=0)
        revocations.revoke_user(name, before=5, until=100, now=0)
    tokens, users = revocations.in_force(50), revocations.users_in_force(50)
    assert (next(tokens).token_id, next(users).user) == ("a", "a")
    revocations.revoke("c", until=200, now=100)
    assert ([t.token_id for t in tokens], [u.user for u in users]) == (["b"], ["b"])


def of(user: str = "42", issued_at: float | None = None, jti: str | None = None) -> Identity:
    return Identity("token", user, credential_id=jti, issued_at=issued_at)


def test_all_tokens_of_a_user_are_revoked_that_were_issued_before() -> None:
    revocations = Revocations()
    revocations.revoke_user("42", before=100, until=1000, now=100)
    assert revocations.covers(of(issued_at=99.9), 100)
    assert revocations.covers(of(issued_at=None), 100), "who knows when it was issued"
    assert not revocations.covers(of(issued_at=100), 100)
    assert not revocations.covers(of("43", issued_at=1), 100)
    assert revocations.covers(of(issued_at=1), 999)
    assert not revocations.covers(of(issued_at=1), 1000)
    assert (len(revocations), list(revocations.users_in_force(999))) == (
        1,
        [UserRevocation("42", 100, 1000)],
    )


def test_a_token_is_revoked_by_its_id_whenever_it_was_issued() -> None:
    revocations = Revocations()
    revocations.revoke("a", until=1000, now=0)
    assert revocations.covers(of(issued_at=500, jti="a"), 600)
    assert not revocations.covers(of(issued_at=500, jti="b"), 600)
    assert not revocations.covers(of(issued_at=500), 600)


def test_the_later_of_two_moments_counts_and_an_end_that_has_passed_takes_its_moment_along() -> (
    None
):
    revocations = Revocations()
    for before, until in ((100, 1000), (300, 900), (200, 1200)):
        revocations.revoke_user("42", before, until, now=0)
    assert list(revocations.users_in_force(0)) == [UserRevocation("42", 300, 1200)]
    revocations.revoke_user("42", before=50, until=2000, now=1200)
    assert list(revocations.users_in_force(1200)) == [UserRevocation("42", 50, 2000)]
    revocations.revoke_user("43", before=50, until=60, now=100)
    revocations.revoke_user("44", before=50, until=5000, now=4000)
    assert revocations._before == {"44": 50}
    assert not revocations.covers(of("43"), 55)


def test_users_are_bounded_as_tokens_are_and_by_themselves() -> None:
    revocations = Revocations(limit=2)
    revocations.revoke("a", until=50, now=0)
    for number in (3, 1, 2):
        revocations.revoke_user(str(number), before=0.5, until=100 * number, now=0)
    assert [user for user in "123" if revocations.covers(of(user), 0)] == ["2", "3"]
    assert revocations.is_revoked("a", 0)
    assert (len(revocations), revocations.forgotten, len(revocations._before)) == (3, 1, 2)
