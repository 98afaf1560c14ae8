from __future__ import annotations

import json
import stat
import time
from datetime import datetime
from pathlib import Path

import pytest

from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import Keys, make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from tests.cli.conftest import Run

CREATE = ["key", "create", "ci", "--scope", "publish", "--channel", "builds:*"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "notifier.toml").write_text('keys_file = "keys.toml"')
    return tmp_path / "keys.toml"


@pytest.mark.parametrize(
    ("scopes", "channels", "told"),
    [
        (["metrics"], [], "may read the metrics\n"),
        (["metrics", "admin"], [], "may read the metrics and administer the server\n"),
        (["presence", "history"], ["a"], "may read history and see who is there on a\n"),
        (
            ["publish", "subscribe", "history", "metrics"],
            ["a", "b:*"],
            "may publish, listen and read history on a, b:*, and read the metrics\n",
        ),
    ],
)
def test_create_says_in_a_sentence_what_the_key_may(
    notifier: Run, file: Path, scopes: list[str], channels: list[str], told: str
) -> None:
    del file
    given = [word for scope in scopes for word in ("--scope", scope)]
    given += [word for channel in channels for word in ("--channel", channel)]
    done = notifier("key", "create", "ops", *given)
    assert f"✓ ops {told}" in done.stderr


def test_create_prints_the_key_alone_and_keeps_its_hash(notifier: Run, file: Path) -> None:
    done = notifier(*CREATE, "--expires", "90d")
    assert done.returncode == 0
    text = done.stdout.removesuffix("\n")
    assert "✓ ci may publish on builds:*, until 20" in done.stderr
    assert text not in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = Keys(KeyFile(file).read())
    identity = keys.identify(text, time.time())
    assert identity.is_granted(Scope.PUBLISH, "builds:main")
    assert identity.expires_at is not None
    assert abs(identity.expires_at - time.time() - 90 * 86400) < 120


def test_key_is_listed_until_it_is_revoked(notifier: Run, file: Path) -> None:
    notifier(*CREATE)
    notifier("key", "create", "ops", "--scope", "metrics", "--scope", "admin")
    listed = notifier("key", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["name", "ci", "ops"]
    assert "publish" in listed[1] and "builds:*" in listed[1] and "never" in listed[1]
    assert "admin, metrics" in listed[2]
    done = notifier("key", "revoke", "ci")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "✓ ci is revoked\n")
    assert [key.name for key in KeyFile(file).read()] == ["ops"]
    again = notifier("key", "revoke", "ci")
    assert (again.returncode, again.stderr) == (1, "error: there is no key 'ci' in keys.toml\n")


def test_expired_key_is_marked(notifier: Run, file: Path) -> None:
    key, _ = make_key(
        "old", scopes=[Scope.HISTORY], channels=Reach.of(["x"]), created=1e9, expires=1.1e9
    )
    KeyFile(file).add(key)
    assert "(expired)" in notifier("key", "list").stdout
    assert json.loads(notifier("key", "list", "--json").stdout)["expired"] is True


def test_json_is_for_programs(notifier: Run, file: Path) -> None:
    made = json.loads(notifier(*CREATE, "--expires", "1h", "--json").stdout)
    listed = json.loads(notifier("key", "list", "--json").stdout)
    text = made.pop("key")
    assert made == listed
    assert text.split("_")[1] == made["id"]
    assert (made["name"], made["scopes"], made["channels"], made["expired"]) == (
        "ci",
        ["publish"],
        ["builds:*"],
        False,
    )
    created, expires = (datetime.fromisoformat(made[part]) for part in ("created", "expires"))
    assert (expires - created).total_seconds() == 3600


def test_nothing_is_listed_as_nothing(notifier: Run, file: Path) -> None:
    notifier(*CREATE)
    notifier("key", "revoke", "ci")
    done = notifier("key", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no keys\n")


def test_file_may_be_named_on_the_command_line_and_in_the_environment(
    notifier: Run, tmp_path: Path
) -> None:
    assert notifier(*CREATE, "--keys-file", "a.toml").returncode == 0
    assert notifier(*CREATE, variables={"NOTIFIER_KEYS_FILE": "b.toml"}).returncode == 0
    assert (tmp_path / "a.toml").exists() and (tmp_path / "b.toml").exists()
    done = notifier(*CREATE)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no file of keys is named\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["key", "create", "a b", "--scope", "admin"], "'a b' is not a key's name"),
        (["key", "create", "ci", "--scope", "publish"], "may publish needs channels"),
        ([*CREATE, "--channel", "x y"], "'x y' is not a channel name"),
        ([*CREATE, "--expires", "soon"], "'soon' is not a duration"),
        ([*CREATE, "--expires", "0"], "a second at least"),
        ([*CREATE, "--expires", "99999999w"], "100 years at most"),
        (["key", "create", "ci"], "Missing option '--scope'"),
        (["key", "create", "ci", "--scope", "root"], "'root' is not one of"),
    ],
)
def test_mistake_exits_2_and_makes_nothing(
    notifier: Run, file: Path, arguments: list[str], problem: str
) -> None:
    done = notifier(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert not file.exists()


def test_name_that_is_taken_exits_1_and_prints_no_key(notifier: Run, file: Path) -> None:
    notifier(*CREATE)
    done = notifier(*CREATE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is a key ci already" in done.stderr


def test_file_that_others_may_read_exits_1(notifier: Run, file: Path) -> None:
    notifier(*CREATE)
    file.chmod(0o644)
    for arguments in (["key", "list"], ["key", "revoke", "ci"]):
        done = notifier(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "chmod 600" in done.stderr
    assert notifier("key", "list", "--keys-file", "none.toml").returncode == 1
