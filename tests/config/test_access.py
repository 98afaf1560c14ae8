from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.rules import Access
from notifier.auth.scopes import Scope
from notifier.config import NamespaceSettings, Settings, SettingsError, load
from notifier.config.access import access_of
from notifier.errors import Forbidden, Unauthenticated

USER = Identity("token", "42")
OF_CHANNELS = [Scope.PUBLISH, Scope.SUBSCRIBE, Scope.HISTORY, Scope.PRESENCE]


def access(*, authenticates: bool = True, **settings: Any) -> Access:
    return access_of(Settings(**settings), authenticates=authenticates)


def allowed(access: Access, identity: Identity, channel: str) -> list[Scope]:
    def lets(scope: Scope) -> bool:
        try:
            access.check(identity, scope, channel)
        except (Unauthenticated, Forbidden):
            return False
        return True

    return [scope for scope in OF_CHANNELS if lets(scope)]


def test_without_keys_and_tokens_everybody_may_do_everything() -> None:
    everything = access(authenticates=False, namespaces={"x": NamespaceSettings(history_size=5)})
    assert everything.open
    for channel in ("x:y", "user:42", "*"):
        assert allowed(everything, ANYBODY, channel) == OF_CHANNELS


def test_with_keys_or_tokens_nobody_may_do_anything_without_a_grant() -> None:
    nothing = access()
    for identity in (ANYBODY, USER, Identity("key", "ci")):
        assert allowed(nothing, identity, "x") == []


def test_users_channels_are_the_users_where_there_are_tokens() -> None:
    private = access(who_may_publish="public", who_may_subscribe="public")
    assert allowed(private, USER, "user:42:inbox") == OF_CHANNELS[1:]
    assert allowed(private, USER, "user:43") == []
    assert allowed(private, ANYBODY, "user:42") == []
    assert allowed(private, ANYBODY, "*") == []
    assert allowed(private, ANYBODY, "user") == [Scope.PUBLISH, Scope.SUBSCRIBE]


def test_users_namespace_may_be_set_otherwise_one_by_one() -> None:
    own = NamespaceSettings(who_may_publish="authenticated", who_may_see_presence="public")
    private = access(namespaces={"user": own})
    assert allowed(private, USER, "user:43") == [Scope.PUBLISH, Scope.PRESENCE]
    assert allowed(private, USER, "user:42") == OF_CHANNELS


@pytest.mark.parametrize("authenticates", [True, False])
@pytest.mark.parametrize("scope", OF_CHANNELS)
def test_each_setting_is_of_its_scope(scope: Scope, authenticates: bool) -> None:
    names = ["who_may_publish", "who_may_subscribe", "who_may_read_history", "who_may_see_presence"]
    rules = dict.fromkeys(names, "granted") | {names[OF_CHANNELS.index(scope)]: "public"}
    for_all = access(authenticates=authenticates, **rules)
    assert allowed(for_all, ANYBODY, "x") == [scope]
    of_one = access(authenticates=authenticates, namespaces={"x": NamespaceSettings(**rules)})
    assert allowed(of_one, ANYBODY, "x:y") == [scope]
    assert allowed(of_one, ANYBODY, "x") == ([] if authenticates else OF_CHANNELS)


def test_namespace_takes_from_the_node_what_it_does_not_set() -> None:
    own = NamespaceSettings(who_may_publish="granted", who_may_read_history="auto")
    mixed = access(
        who_may_publish="public",
        who_may_subscribe="public",
        who_may_read_history="authenticated",
        namespaces={"x": own},
    )
    assert allowed(mixed, ANYBODY, "x:y") == [Scope.SUBSCRIBE]
    assert allowed(mixed, USER, "x:y") == [Scope.SUBSCRIBE, Scope.HISTORY]


def test_rules_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'keys_file = "keys.toml"\nwho_may_publish = "authenticated"\n'
        '[namespaces.news]\nwho_may_subscribe = "public"'
    )
    settings = load(file=file).settings
    assert settings.keys_file == "keys.toml"
    access = access_of(settings, authenticates=True)
    assert allowed(access, ANYBODY, "news:x") == [Scope.SUBSCRIBE]
    assert allowed(access, USER, "news:x") == [Scope.PUBLISH, Scope.SUBSCRIBE]


@pytest.mark.parametrize("where", ["", "[namespaces.x]\n"])
@pytest.mark.parametrize("value", ['"everybody"', "true", "1", '""'])
def test_rule_is_one_of_five_words(tmp_path: Path, where: str, value: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"{where}who_may_publish = {value}")
    with pytest.raises(SettingsError, match="who_may_publish"):
        load(file=file)
