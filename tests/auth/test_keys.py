from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth import keys as module
from notifier.auth.keys import ApiKey, Keys, looks_like_key, make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.errors import BadCredential, ExpiredCredential

NOW = 1_000_000.0


def make(name: str = "ci", **parts: Any) -> tuple[ApiKey, str]:
    given = {"scopes": [Scope.PUBLISH], "channels": Reach.of(["builds:*"]), "created": NOW}
    return make_key(name, **(given | parts))


KEY, TEXT = make()
KEYS = Keys([KEY])


def test_key_is_known_by_its_text_and_may_what_it_was_granted() -> None:
    other, other_text = make("app", scopes=[Scope.ADMIN, Scope.HISTORY], channels=Reach.of(["*"]))
    keys = Keys([KEY, other])
    assert len(keys) == 2
    identity = keys.identify(TEXT, NOW)
    assert (identity.kind, identity.name, identity.user) == ("key", "ci", None)
    assert identity.is_granted(Scope.PUBLISH, "builds:main")
    assert not identity.is_granted(Scope.PUBLISH, "alerts")
    assert keys.identify(other_text, NOW).grants.keys() == {Scope.ADMIN, Scope.HISTORY}


def test_text_has_an_id_of_12_letters_and_a_secret_of_256_bits() -> None:
    kind, id, secret = TEXT.split("_")
    assert (kind, id, len(id)) == ("nk", KEY.id, 12)
    assert 62 ** len(secret) >= 2**256
    assert looks_like_key(TEXT)
    assert not looks_like_key("eyJhbGciOiJIUzI1NiJ9.e30.x")


def test_no_two_keys_are_alike() -> None:
    made = [make() for _ in range(100)]
    assert len({key.id for key, _ in made}) == len({text for _, text in made}) == 100


def test_what_is_kept_does_not_show_the_secret() -> None:
    assert TEXT.split("_")[2] not in repr(KEY)
    assert KEY.digest.hex() not in repr(KEY)
    assert repr(KEY.digest) not in repr(KEY)


def wrong_texts() -> list[str]:
    stranger = make()[1]
    _, id, secret = TEXT.split("_")
    return [
        "", "nk_", "nk__", "nk_" + id, f"nk_{id}_", stranger, TEXT + "A", TEXT[:-1], TEXT + "\n",
        " " + TEXT, TEXT.upper(), TEXT.replace("nk", "NK"), f"nk_{id}_{'A' * 43}",
        f"nk_{'0' * 12}_{secret}", f"nk_{secret}_{id}", f"nk_{id}_{secret[:-1]}\x00",
        f"nk_{id}_{secret[:-1]}é", f"nk_{id}_{secret[:-1]}\ud800", TEXT + "\x00", "\x00" + TEXT,
        "nk_" + "A" * 10_000_000, "é" * 1_000_000,
        f"nk_{id[:-1]}٣_{secret}",
    ]  # fmt: skip


WRONG = wrong_texts()


@pytest.mark.parametrize("text", WRONG, ids=map(str, range(len(WRONG))))
def test_any_other_text_is_refused_and_not_told_why(text: str) -> None:
    with pytest.raises(BadCredential) as refused:
        KEYS.identify(text, NOW)
    assert refused.value.describe() == BadCredential(refused.value.message).describe()
    assert refused.value.message == (
        "This API key is not known here: it is mistyped, or was revoked."
    )


@given(st.text(st.characters()) | st.from_regex(r"nk_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}"))
def test_whatever_is_sent_is_refused(text: str) -> None:
    with pytest.raises(BadCredential):
        KEYS.identify(text, NOW)


def test_empty_digest_of_the_decoy_opens_nothing() -> None:
    id = module._DECOY[0].id
    with pytest.raises(BadCredential):
        Keys().identify(f"nk_{id}_{'A' * 43}", NOW)


def steps_of(text: str) -> list[tuple[str, str, int]]:
    """Every line and every call of ours that refusing the text takes."""
    steps: list[tuple[str, str, int]] = []

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename == module.__file__:
            steps.append((event, getattr(argument, "__name__", ""), frame.f_lineno))

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename == module.__file__:
            steps.append((event, "", frame.f_lineno))
            return trace
        return None

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        KEYS.identify(text, NOW)
    except BadCredential:
        pass
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return steps


def test_unknown_id_is_refused_by_the_same_steps_as_a_wrong_secret() -> None:
    unknown = steps_of(make()[1])
    wrong = steps_of(f"nk_{KEY.id}_{'A' * 43}")
    assert unknown == wrong
    calls = [name for event, name, _ in wrong if event == "c_call"]
    assert calls.count("compare_digest") == 1


def test_key_is_good_until_it_expires_and_is_then_said_to_have_expired() -> None:
    key, text = make(expires=NOW + 10)
    keys = Keys([key])
    assert keys.identify(text, NOW + 9.9).expires_at == NOW + 10
    with pytest.raises(ExpiredCredential):
        keys.identify(text, NOW + 10)


def test_that_a_key_has_expired_is_told_to_its_owner_alone() -> None:
    key, _ = make(expires=NOW)
    with pytest.raises(BadCredential):
        Keys([key]).identify(f"nk_{key.id}_{'A' * 43}", NOW + 1)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"name": ""}, "not a key's name"),
        ({"name": "a b"}, "not a key's name"),
        ({"name": "x" * 65}, "not a key's name"),
        ({"name": "a\n"}, "not a key's name"),
        ({"name": "-rf"}, "not a key's name"),
        ({"name": "clé"}, "not a key's name"),
        ({"scopes": []}, "needs a scope"),
        ({"channels": Reach()}, "may publish needs channels"),
    ],
)
def test_key_must_make_sense(parts: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make(**parts)


@pytest.mark.parametrize("scope", [Scope.METRICS, Scope.ADMIN])
def test_channels_that_would_limit_nothing_are_refused(scope: Scope) -> None:
    with pytest.raises(ValueError, match="everywhere: name no channels"):
        make(scopes=[scope], channels=Reach.of(["a"]))


def test_key_for_the_node_as_a_whole_needs_no_channels() -> None:
    key, text = make(scopes=[Scope.METRICS], channels=Reach())
    assert Keys([key]).identify(text, NOW).grants == {Scope.METRICS: Reach()}


def test_two_keys_have_neither_a_name_nor_an_id_in_common() -> None:
    with pytest.raises(ValueError, match="two keys have the name ci"):
        Keys([KEY, make()[0]])
    twin = ApiKey("twin", KEY.id, bytes(32), KEY.scopes, KEY.channels, NOW)
    with pytest.raises(ValueError, match="two keys have the id"):
        Keys([KEY, twin])
