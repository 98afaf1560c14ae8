from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from notifier.config import Settings, SettingsError, load
from notifier.config.tokens import TokenKeysError, static_keys, token_rules, verifies_tokens
from notifier.config.values import write_value
from tests.auth.signing import SECRET, private, private_pem, public_pem

CHECKOUT = Path(__file__).parent.parent.parent


def test_keys_come_from_the_secret_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(public_pem(private("ES256")))
    settings = Settings(token_secret=SECRET, token_keys_file=str(file))
    assert [key.algorithm for key in static_keys(settings).keys] == ["HS256", "ES256"]
    assert len(static_keys(Settings())) == 0


@pytest.mark.parametrize("name", ["token_secret", "token_keys_file", "token_jwks_url"])
def test_each_of_them_means_that_tokens_are_verified(name: str) -> None:
    values = {"token_secret": SECRET, "token_keys_file": "x", "token_jwks_url": "https://id/k"}
    assert verifies_tokens(Settings(**{name: values[name]}))
    assert not verifies_tokens(Settings(token_audience="x", token_issuer="y"))


def test_rules_are_what_is_set() -> None:
    rules = token_rules(Settings(token_audience="ours"))
    assert (rules.audience, rules.issuer) == ("ours", None)


def test_file_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    settings = Settings(token_keys_file=str(file))
    for content, problem in [
        (None, "No such file"),
        (b"", "neither public keys"),
        (b"\xff\xfe", "neither public keys"),
        (private_pem(private("ES256")), "private key"),
        (b"x" * 300_000, "longer than"),
    ]:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(TokenKeysError, match=f"keys.pem: .*{problem}"):
            static_keys(settings)


def test_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(token_secret=SECRET)
    assert SECRET not in repr(settings) and SECRET not in str(settings)
    assert write_value(Settings.model_fields["token_secret"], SECRET) == "***"
    assert write_value(Settings.model_fields["token_secret"], "") == ""
    monkeypatch.setenv("NOTIFIER_TOKEN_SECRET", "short-and-visible")
    with pytest.raises(SettingsError, match=r"NOTIFIER_TOKEN_SECRET=\*\*\*: it is 17 bytes") as bad:
        load()
    assert "visible" not in str(bad.value)
    (tmp_path / "notifier.toml").write_text('token_secret = ["visible"]')
    monkeypatch.delenv("NOTIFIER_TOKEN_SECRET")
    with pytest.raises(SettingsError, match="token_secret") as bad:
        load()
    assert "visible" not in str(bad.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(TokenKeysError, match="it is not a file"):
            static_keys(Settings(token_keys_file=str(path)))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"token_secret": "x" * 31}, "at least 32"),
        ({"token_jwks_url": "http://id.example/k"}, "write https"),
        ({"token_cookie": "a b"}, "no name of a cookie"),
        ({"token_cookie": "a;b"}, "no name of a cookie"),
        ({"token_cookie": "é"}, "no name of a cookie"),
    ],
)
def test_bad_values_are_refused(values: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings(**values)


def test_name_of_a_cookie_may_have_a_prefix() -> None:
    assert Settings(token_cookie="__Host-token").token_cookie == "__Host-token"


WITHOUT = f"""
import sys
# As it is where the extra was not installed: importing cryptography fails.
sys.modules["cryptography"] = None
from notifier.config import Settings
from notifier.config.tokens import static_keys, token_rules
from notifier.auth.tokens import Token
from notifier.auth.issuing import make_token, signing_key, signing_secret
settings = Settings(token_secret={SECRET!r}, token_keys_file=sys.argv[1])
token = make_token({{"sub": "42", "exp": 600}}, signing_secret({SECRET!r}))
keys = static_keys(settings.model_copy(update={{"token_keys_file": ""}}))
print(token_rules(settings).verify(Token.parse(token), keys, 0).identity.user)
for refused in (
    lambda: static_keys(settings),
    lambda: Settings(token_jwks_url="https://id.example/k"),
    lambda: signing_key(b""),
):
    try:
        refused()
    except Exception as error:
        print("notifier[jwt]" in str(error))
"""


def test_without_the_extra_hs256_works_and_the_rest_names_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(public_pem(private("RS256")))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(file)],
        capture_output=True, text=True, cwd=CHECKOUT, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["42", "True", "True", "True"], done.stderr
