"""What ends is told when it ends, once, and costs no memory before or after."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifier.expiries import Expiries

names = st.sampled_from("abcd")
moments = st.none() | st.integers(0, 50).map(float)
steps = st.lists(st.tuples(names, moments) | st.integers(0, 60).map(float), max_size=200)


@given(steps)
def test_it_agrees_with_a_dict(steps: list[tuple[str, float | None] | float]) -> None:
    expiries, model, now = Expiries(), {}, 0.0
    for step in steps:
        if isinstance(step, tuple):
            name, at = step
            expiries.set(name, at)
            model.pop(name, None)
            if at is not None:
                model[name] = at
        else:
            now = max(now, step)
            expected = sorted(name for name, at in model.items() if at <= now)
            assert sorted(expiries.take_due(now)) == expected
            model = {name: at for name, at in model.items() if at > now}
        assert len(expiries) == len(model)


def test_the_soonest_comes_first() -> None:
    expiries = Expiries()
    for name, at in (("late", 3.0), ("soon", 1.0), ("between", 2.0)):
        expiries.set(name, at)
    assert expiries.take_due(2.5) == ["soon", "between"]


def test_the_soonest_can_be_taken_before_its_time() -> None:
    expiries = Expiries()
    for name, at in (("late", 3.0), ("soon", 1.0), ("between", 2.0), ("soon", 2.5)):
        expiries.set(name, at)
    assert (expiries.at("soon"), expiries.at("nobody")) == (2.5, None)
    assert [expiries.take_first() for _ in range(3)] == ["between", "soon", "late"]
    assert list(expiries.items()) == []


def test_what_is_renewed_for_ever_takes_no_room() -> None:
    expiries = Expiries()
    for number in range(10_000):
        expiries.set("one", 1e9 + number)
        expiries.set(f"gone {number}", 1e9)
        expiries.set(f"gone {number}", None)
    assert len(expiries._heap) < 50
