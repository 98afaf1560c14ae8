from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.reach import Reach
from notifier.auth.rules import Access, Rule, Rules
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.errors import Forbidden, Unauthenticated

KEY = Identity("key", "ci", {Scope.PUBLISH: Reach.of(["builds:*"])})
USER = Identity("token", "42", {Scope.SUBSCRIBE: Reach.of(["news"])})
ROOT = Identity("key", "root", dict.fromkeys(Scope, Reach.of(["*"])))


def lets(access: Access, identity: Identity, scope: Scope, channel: str) -> bool:
    try:
        access.check(identity, scope, channel)
    except (Unauthenticated, Forbidden) as refusal:
        assert isinstance(refusal, Unauthenticated) == (identity.kind == "anonymous")
        assert (refusal.scope, refusal.channel) == (scope.value, channel)
        return False
    return True


@pytest.mark.parametrize("scope", sorted(OF_CHANNELS))
@pytest.mark.parametrize(
    ("rule", "identity", "channel", "may"),
    [
        (Rule.PUBLIC, ANYBODY, "x", True),
        (Rule.PUBLIC, KEY, "x", True),
        (Rule.PUBLIC, USER, "x:*", True),
        (Rule.PUBLIC, ANYBODY, "*", True),
        (Rule.AUTHENTICATED, ANYBODY, "x", False),
        (Rule.AUTHENTICATED, KEY, "x", False),
        (Rule.AUTHENTICATED, USER, "x", True),
        (Rule.AUTHENTICATED, USER, "*", True),
        (Rule.OWNER, ANYBODY, "x:42", False),
        (Rule.OWNER, Identity("key", "42"), "x:42", False),
        (Rule.OWNER, USER, "x:42", True),
        (Rule.OWNER, USER, "x:42:inbox", True),
        (Rule.OWNER, USER, "x:42:*", True),
        (Rule.OWNER, USER, "x:42:*:y", True),
        (Rule.OWNER, USER, "x:43", False),
        (Rule.OWNER, USER, "x:4", False),
        (Rule.OWNER, USER, "x:421", False),
        (Rule.OWNER, USER, "x:y:42", False),
        (Rule.OWNER, USER, "42", False),
        (Rule.OWNER, USER, "42:x", False),
        (Rule.OWNER, USER, "x:42*", False),
        (Rule.OWNER, USER, "x:*", False),
        (Rule.OWNER, USER, "x*:42", False),
        (Rule.OWNER, USER, "*:42", False),
        (Rule.OWNER, Identity("token", "*"), "x:*", False),
        (Rule.OWNER, Identity("token", "*"), "x:*:y", False),
        (Rule.OWNER, Identity("token", ""), "x", False),
        (Rule.OWNER, Identity("token", ""), "x:", False),
        (Rule.OWNER, Identity("token", "42:inbox"), "x:42:inbox", False),
        (Rule.GRANTED, ANYBODY, "x", False),
        (Rule.GRANTED, KEY, "x", False),
        (Rule.GRANTED, USER, "x", False),
        (Rule.GRANTED, ROOT, "x", True),
        (Rule.GRANTED, ROOT, "*", True),
    ],
)
def test_rule_lets_those_it_is_for(
    rule: Rule, identity: Identity, channel: str, may: bool, scope: Scope
) -> None:
    assert lets(Access(Rules.all(rule), {}), identity, scope, channel) == may


@pytest.mark.parametrize("scope", sorted(OF_CHANNELS))
def test_each_scope_has_a_rule_of_its_own(scope: Scope) -> None:
    name = {Scope.PUBLISH: "publish", Scope.SUBSCRIBE: "subscribe", Scope.HISTORY: "history"}
    rules = dict.fromkeys(("publish", "subscribe", "history", "presence"), Rule.GRANTED)
    rules[name.get(scope, "presence")] = Rule.PUBLIC
    access = Access(Rules(**rules), {})
    assert [s for s in sorted(OF_CHANNELS) if lets(access, ANYBODY, s, "x")] == [scope]


@pytest.mark.parametrize("rule", Rule)
def test_grant_suffices_whatever_the_rule(rule: Rule) -> None:
    access = Access(Rules.all(rule), {"builds": Rules.all(rule)})
    assert lets(access, KEY, Scope.PUBLISH, "builds:main")
    assert lets(access, KEY, Scope.PUBLISH, "builds:m*")
    assert lets(access, USER, Scope.SUBSCRIBE, "news")


@pytest.mark.parametrize("scope", sorted(OF_CHANNELS))
@pytest.mark.parametrize("rule", Rule)
def test_nobody_in_particular_needs_one_public_namespace(scope: Scope, rule: Rule) -> None:
    access = Access(Rules.all(Rule.GRANTED), {"x": Rules.all(rule)})
    for identity in (KEY, USER, Identity("token", "idle")):
        access.check_somewhere(identity, scope)
    if rule is Rule.PUBLIC:
        access.check_somewhere(ANYBODY, scope)
        return
    with pytest.raises(Unauthenticated) as refused:
        access.check_somewhere(ANYBODY, scope)
    assert refused.value.facts == {"scope": scope.value}


def test_grant_is_for_its_scope_and_its_channels_alone() -> None:
    access = Access(Rules.all(Rule.GRANTED), {})
    assert not lets(access, KEY, Scope.SUBSCRIBE, "builds:main")
    assert not lets(access, KEY, Scope.PUBLISH, "builds")
    assert not lets(access, USER, Scope.HISTORY, "news")
    assert not lets(access, USER, Scope.SUBSCRIBE, "news*")


def test_namespace_has_its_rules() -> None:
    access = Access(Rules.all(Rule.GRANTED), {"open": Rules.all(Rule.PUBLIC)})
    assert lets(access, ANYBODY, Scope.SUBSCRIBE, "open:x")
    assert lets(access, ANYBODY, Scope.SUBSCRIBE, "open:*")
    for elsewhere in ("open", "opened:x", "x:open:y", "ope*", "open*", "*", "*:x", "*open:x"):
        assert not lets(access, ANYBODY, Scope.SUBSCRIBE, elsewhere), elsewhere


def test_pattern_that_may_reach_a_closed_namespace_is_refused() -> None:
    access = Access(Rules.all(Rule.PUBLIC), {"secret": Rules.all(Rule.GRANTED)})
    assert lets(access, ANYBODY, Scope.SUBSCRIBE, "x:*")
    for reaching in ("*", "s*", "*:x", "sec*:x", "secret:*"):
        assert not lets(access, ANYBODY, Scope.SUBSCRIBE, reaching), reaching


patterns = (
    st.lists(st.text("ab:4", max_size=3), min_size=2, max_size=3)
    .map("*".join)
    .filter(lambda text: "**" not in text and "::" not in text and text[0] != ":" != text[-1])
)
rules = st.sampled_from(Rule).map(Rules.all)


@given(
    default=rules,
    named=st.dictionaries(st.sampled_from(["a", "b", "ab"]), rules),
    grants=st.lists(patterns, max_size=2),
    pattern=patterns,
    fillings=st.lists(st.text("ab:4", max_size=3), min_size=3, max_size=3),
    user=st.sampled_from(["4", "a", "b", ""]),
    kind=st.sampled_from(["anonymous", "key", "token"]),
)
def test_who_may_follow_a_pattern_may_follow_whatever_it_matches(
    default: Rules,
    named: dict[str, Rules],
    grants: list[str],
    pattern: str,
    fillings: list[str],
    user: str,
    kind: Literal["anonymous", "key", "token"],
) -> None:
    access = Access(default, named)
    identity = Identity(kind, user, {Scope.SUBSCRIBE: Reach.of(grants)})
    first, *others = pattern.split("*")
    name = first + "".join(f"{fillings.pop()}{part}" for part in others)
    if lets(access, identity, Scope.SUBSCRIBE, pattern):
        # Such as can be channels: no part is empty.
        assert lets(access, identity, Scope.SUBSCRIBE, name) or "" in name.split(":")
        if not grants:
            access.check_somewhere(identity, Scope.SUBSCRIBE)


@pytest.mark.parametrize("scope", [Scope.METRICS, Scope.ADMIN])
def test_node_as_a_whole_is_for_those_with_a_grant(scope: Scope) -> None:
    access = Access(Rules.all(Rule.PUBLIC), {})
    access.check_scope(Identity("key", "ops", {scope: Reach()}), scope)
    with pytest.raises(Unauthenticated) as refused:
        access.check_scope(ANYBODY, scope)
    assert refused.value.facts == {"scope": scope.value}
    for identity in (KEY, USER):
        with pytest.raises(Forbidden, match=f"This {identity.kind} may not {scope.deed}"):
            access.check_scope(identity, scope)


def test_where_nobody_can_be_granted_anything_all_is_open() -> None:
    access = Access(Rules.all(Rule.PUBLIC), {"x": Rules.all(Rule.PUBLIC)}, authenticates=False)
    assert access.open
    for scope in sorted(OF_CHANNELS):
        assert lets(access, ANYBODY, scope, "*")
    access.check_scope(ANYBODY, Scope.ADMIN)


def test_rule_holds_where_there_are_no_keys_too() -> None:
    access = Access(Rules.all(Rule.PUBLIC), {"x": Rules.all(Rule.GRANTED)}, authenticates=False)
    assert not access.open
    assert lets(access, ANYBODY, Scope.PUBLISH, "y")
    assert not lets(access, ANYBODY, Scope.PUBLISH, "x:y")
    access.check_scope(ANYBODY, Scope.ADMIN)


def test_public_rules_beside_keys_are_not_open() -> None:
    """Keys and tokens are looked at all the same: administration needs one."""
    assert not Access(Rules.all(Rule.PUBLIC), {}).open


def test_refusal_says_what_and_how() -> None:
    access = Access(Rules.all(Rule.GRANTED), {})
    with pytest.raises(Unauthenticated, match=r"publish to 'x'.*Authorization: Bearer"):
        access.check(ANYBODY, Scope.PUBLISH, "x")
    with pytest.raises(Forbidden, match="This key may not listen to 'x'"):
        access.check(KEY, Scope.SUBSCRIBE, "x")


# What nobody may, what a key may not, and what a key may not on a channel.
SENTENCES = {
    Scope.PUBLISH: ("a key or a token that may publish", "publish to 'builds:*'"),
    Scope.SUBSCRIBE: ("a key or a token that may listen", "listen to 'builds:*'"),
    Scope.HISTORY: ("a key or a token that may read history", "read the history of 'builds:*'"),
    Scope.PRESENCE: ("a key or a token that may see who is there", "see who is on 'builds:*'"),
    Scope.METRICS: ("a key that may read the metrics", "read the metrics"),
    Scope.ADMIN: ("a key that may administer the server", "administer the server"),
}


@pytest.mark.parametrize("scope", Scope)
def test_refusal_is_a_sentence_for_every_scope(scope: Scope) -> None:
    access = Access(Rules.all(Rule.GRANTED), {})
    needed, deed = SENTENCES[scope]
    key = Identity("key", "ci")

    def ask(identity: Identity) -> None:
        if scope in OF_CHANNELS:
            access.check_somewhere(identity, scope)
            access.check(identity, scope, "builds:*")
        else:
            access.check_scope(identity, scope)

    with pytest.raises(Unauthenticated) as nobody:
        ask(ANYBODY)
    assert nobody.value.message == (
        f'This needs {needed}. Send it as the header "Authorization: Bearer …".'
    )
    with pytest.raises(Forbidden) as other:
        ask(key)
    assert other.value.message == f"This key may not {deed}."
