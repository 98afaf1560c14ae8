from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from notifier.auth.keyfile import KeyFile, KeyFileError, KeyFileUnreadable
from notifier.auth.keys import ApiKey, make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope

CHECKOUT = Path(__file__).parent.parent.parent
NOW = 1_780_000_000.0
GOOD = """\
[[key]]
name = "ci"
scopes = ["publish"]
channels = ["builds:*"]
created = 2026-11-25T16:38:51Z
id = "4fJ0xwzQ81Lm"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"""


def make(name: str, **parts: Any) -> ApiKey:
    given = {"scopes": [Scope.PUBLISH], "channels": Reach.of(["builds:*"]), "created": NOW}
    return make_key(name, **(given | parts))[0]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.toml")


def write(file: KeyFile, text: str | bytes, mode: int = 0o600) -> None:
    file.path.write_bytes(text.encode() if isinstance(text, str) else text)
    file.path.chmod(mode)


def test_what_was_added_is_read_and_what_was_removed_is_gone(file: KeyFile) -> None:
    keys = [
        make("ci", expires=NOW + 86400),
        make("app", scopes=Scope, channels=Reach.of(["größe:*", "a*b", "警报", "*"])),
        make("ops@x.example", scopes=[Scope.METRICS], channels=Reach()),
    ]
    for key in keys:
        file.add(key)
    assert file.read() == keys
    assert file.remove("app") == keys[1]
    assert file.read() == [keys[0], keys[2]]


def test_file_from_which_the_last_was_removed_says_that_nobody_has_a_key(file: KeyFile) -> None:
    file.add(make("ci"))
    file.remove("ci")
    assert file.read() == []
    whole = file.path.read_bytes()
    for length in range(len(whole) - 1):  # the last is the end of the line
        write(file, whole[:length])
        with pytest.raises(KeyFileError):
            file.read()
    write(file, whole)
    file.add(make("app"))
    assert [key.name for key in file.read()] == ["app"]


def test_file_is_for_its_owner_alone_and_holds_no_secret(file: KeyFile) -> None:
    key, text = make_key("ci", scopes=[Scope.ADMIN], channels=Reach(), created=NOW)
    before = os.umask(0)
    try:
        file.add(key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert text.split("_")[2] not in file.path.read_text()
    assert os.listdir(file.path.parent) == ["keys.toml"]


def test_name_is_taken_once(file: KeyFile) -> None:
    file.add(make("ci"))
    with pytest.raises(KeyFileError, match="there is a key ci already"):
        file.add(make("ci"))
    with pytest.raises(KeyFileError, match="there is no key 'app'"):
        file.remove("app")
    assert [key.name for key in file.read()] == ["ci"]


def test_file_that_is_not_there_is_asked_for(file: KeyFile) -> None:
    with pytest.raises(
        KeyFileUnreadable, match=r"no keys file .*keys\.toml; `notifier key create`"
    ):
        file.read()
    with pytest.raises(KeyFileError, match="there is no key"):
        file.remove("ci")
    assert not file.path.exists()
    nowhere = KeyFile(file.path.parent / "nowhere" / "keys.toml")
    with pytest.raises(KeyFileUnreadable, match="No such file"):
        nowhere.add(make("ci"))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440, 0o700])
def test_file_may_be_read_by_its_owner_and_group(file: KeyFile, mode: int) -> None:
    write(file, GOOD, mode)
    assert len(file.read()) == 1
    file.add(make("app"))
    assert stat.S_IMODE(file.path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o660, 0o620, 0o666, 0o777])
def test_file_that_others_may_read_or_change_is_refused(file: KeyFile, mode: int) -> None:
    write(file, GOOD, mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}\); chmod 600 it") as refused:
        file.read()
    assert not isinstance(refused.value, KeyFileUnreadable)
    with pytest.raises(KeyFileError, match="chmod 600"):
        file.add(make("app"))
    assert file.path.read_text() == GOOD


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_file_stays_its_owners_when_root_changes_it(file: KeyFile) -> None:
    write(file, GOOD)
    os.chown(file.path, 12345, 23456)
    file.add(make("app"))
    facts = file.path.stat()
    assert (facts.st_uid, facts.st_gid) == (12345, 23456)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("key = 5", "something else"),
        ("", "it is empty"),
        (" \n\t\r\n", "it is empty"),
        ("# API keys of not", "it is empty"),
        ("keys = []", "something else"),
        ("[key]\nname = 'ci'", "something else"),
        ("key = [5]", "key 1: write it as a table"),
        ("[[key]", "not TOML"),
        (b"\xff", "not TOML"),
        (b"name = '\0'", "not TOML"),
        ("a = " + "[" * 100_000, "not TOML"),
        (GOOD.replace('id = "4fJ0xwzQ81Lm"\n', ""), "key 1 \\('ci'\\): id is missing"),
        (GOOD + "color = 5", "'color' is no part of a key"),
        (GOOD.replace('"ci"', "5"), "name must be text"),
        (GOOD.replace('"ci"', '"a b"'), "not a key's name"),
        (GOOD.replace('["publish"]', '"publish"'), "scopes must be a list"),
        (GOOD.replace('["publish"]', '["Publish"]'), "'Publish' is no scope; there are publish,"),
        (GOOD.replace('["publish"]', "[[]]"), "is no scope"),
        (GOOD.replace('["publish"]', "[]"), "needs a scope"),
        (GOOD.replace('["builds:*"]', "[]"), "needs channels"),
        (GOOD.replace("builds:*", "a b"), "'a b' is not a channel name"),
        (GOOD.replace('"builds:*"', "5"), "must be a string"),
        (GOOD.replace("51Z", "51"), "created must be a time such as"),
        (GOOD.replace("00", "zz"), "sha256 must be hexadecimal"),
        (GOOD.replace("00", "", 1), "digest is 32 bytes"),
        (GOOD.replace("4fJ0", "4f-0"), "id is 12 letters"),
        (GOOD + GOOD, "two keys have the name ci"),
        (GOOD + GOOD.replace("ci", "app"), "two keys have the id"),
        ("#" * (4 * 1024 * 1024 + 1), "longer than"),
    ],
    ids=range(29),
)  # fmt: skip
def test_file_that_is_not_what_it_should_be_is_refused(
    file: KeyFile, text: str | bytes, problem: str
) -> None:
    write(file, text)
    with pytest.raises(KeyFileError, match=problem) as refused:
        file.read()
    assert str(file.path) in str(refused.value)
    with pytest.raises(KeyFileError, match=problem):
        file.add(make("app"))


def test_file_written_by_hand_is_read(file: KeyFile) -> None:
    write(file, "# mine\n" + GOOD.replace("51Z", "51+01:00") + "expires = 2027-01-01 00:00:00Z\n")
    (key,) = file.read()
    assert (key.created, key.expires) == (1795621131.0, 1798761600.0)


def test_pipes_and_directories_are_no_files(file: KeyFile) -> None:
    os.mkfifo(file.path, 0o600)
    with pytest.raises(KeyFileError, match="it is not a file"):
        file.read()
    with pytest.raises(KeyFileError, match=r"not a file|Is a directory"):
        KeyFile(file.path.parent).read()


def test_link_stays_a_link(file: KeyFile, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    file.path.symlink_to(there / "real.toml")
    file.add(make("ci"))
    file.add(make("app"))
    assert file.path.is_symlink()
    assert len(file.read()) == len(KeyFile(there / "real.toml").read()) == 2


def test_file_cut_anywhere_is_refused_or_has_fewer_keys_none_of_them_changed(
    file: KeyFile,
) -> None:
    keys = [make("a", expires=NOW + 9), make("b"), make("c", expires=NOW + 5)]
    for key in keys:
        file.add(key)
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        write(file, whole[:length])
        try:
            left = file.read()
        except KeyFileError:
            continue
        assert left and left == keys[: len(left)], length


def test_two_who_write_at_once_lose_nothing_of_each_other(file: KeyFile) -> None:
    script = (
        "import sys; from tests.auth.test_keyfile import KeyFile, Path, make\n"
        "for number in range(20): KeyFile(Path(sys.argv[1])).add(make(f'{sys.argv[2]}{number}'))"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file.path), name],
            cwd=CHECKOUT,
        )
        for name in ("a", "b", "c")
    ]
    try:
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    finally:
        for writer in writers:
            writer.kill()
    names = {f"{writer}{number}" for writer in "abc" for number in range(20)}
    assert {key.name for key in file.read()} == names
    assert os.listdir(file.path.parent) == ["keys.toml"]


def test_failed_write_leaves_the_old_file_and_no_rest(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add(make("ci"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileUnreadable, match="No space left"):
        file.add(make("app"))
    monkeypatch.undo()
    assert [key.name for key in file.read()] == ["ci"]
    assert os.listdir(file.path.parent) == ["keys.toml"]
