from __future__ import annotations

import pytest

from notifier.auth.identity import ANYBODY, Identity
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope


def test_grant_is_of_a_scope_and_of_channels() -> None:
    identity = Identity("key", "ci", {Scope.PUBLISH: Reach.of(["builds:*"])})
    assert identity.is_granted(Scope.PUBLISH, "builds:main")
    assert identity.is_granted(Scope.PUBLISH, "builds:m*")
    assert not identity.is_granted(Scope.PUBLISH, "alerts")
    assert not identity.is_granted(Scope.SUBSCRIBE, "builds:main")


@pytest.mark.parametrize("scope", Scope)
def test_nobody_is_granted_anything(scope: Scope) -> None:
    assert not ANYBODY.is_granted(scope, "alerts")
    assert ANYBODY.user is None
    assert not ANYBODY.is_expired(1e12)


def test_token_alone_speaks_for_a_user() -> None:
    assert Identity("token", "42").user == "42"
    assert Identity("key", "42").user is None


def test_identity_expires_at_its_time() -> None:
    identity = Identity("token", "42", expires_at=100.0)
    assert not identity.is_expired(99.9)
    assert identity.is_expired(100.0)
