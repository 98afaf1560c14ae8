from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from notifier.auth.keyfile import KeyFile, KeyFileError
from notifier.auth.keys import Keys, make_key
from notifier.auth.keywatch import WatchedKeys
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.errors import BadCredential

NOW = 1_780_000_000.0


def add(file: KeyFile, name: str) -> str:
    """The text of a new key."""
    key, text = make_key(name, scopes=[Scope.PUBLISH], channels=Reach.of(["*"]), created=NOW)
    file.add(key)
    return text


def watching(file: KeyFile) -> WatchedKeys[Keys]:
    return WatchedKeys(file.path, lambda: Keys(file.read()))


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.toml")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


def test_new_key_is_good_and_a_revoked_one_is_not_at_the_next_look(file: KeyFile) -> None:
    old = add(file, "old")
    watched = watching(file)
    assert not watched.look()
    new = add(file, "new")
    assert watched.look()
    assert watched.keys.identify(new, NOW).name == "new"
    file.remove("old")
    assert watched.look()
    with pytest.raises(BadCredential):
        watched.keys.identify(old, NOW)
    assert not watched.look()


def test_file_is_not_read_while_it_stays_as_it_is(file: KeyFile) -> None:
    add(file, "ci")
    watched = watching(file)
    keys = watched.keys
    assert not watched.look()
    assert watched.keys is keys
    assert watched.look(again=True)
    assert watched.keys is not keys


def test_file_changed_in_place_to_the_same_length_is_read(file: KeyFile) -> None:
    add(file, "ci")
    watched = watching(file)
    text = file.path.read_text()
    file.path.write_text(text.replace('"ci"', '"ic"'))
    # Whatever the clock of the file system is: a moment later.
    os.utime(file.path, ns=(0, file.path.stat().st_mtime_ns + 1))
    assert not watched.look()  # it may not be whole yet
    assert watched.look()


def test_file_that_is_being_written_is_left_alone_until_it_stays_as_it_is(file: KeyFile) -> None:
    texts = [add(file, f"key-{n}") for n in range(3)]
    watched = watching(file)
    whole = file.path.read_bytes()
    two = whole.index(b"[[key]]", whole.index(b"key-1"))  # good TOML, and one key less
    for length in (0, 10, two, two + 5, len(whole)):
        file.path.write_bytes(whole[:length])
        os.utime(file.path, ns=(0, length + 1))
        assert not watched.look()
        assert all(watched.keys.identify(text, NOW) for text in texts)
    assert watched.look()
    assert len(watched.keys) == 3


def test_server_does_not_begin_with_a_bad_file(file: KeyFile) -> None:
    with pytest.raises(KeyFileError):
        watching(file)


def test_bad_file_leaves_the_keys_in_force_and_is_told_once(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    text = add(file, "ci")
    watched = watching(file)
    good = file.path.read_bytes()
    file.path.write_bytes(good[:-10])
    for _ in range(3):
        assert not watched.look()
    assert errors(caplog) == ["keys.unusable"]
    assert watched.problem is not None and "not TOML" in watched.problem
    assert watched.keys.identify(text, NOW).name == "ci"
    assert not watched.look(again=True)
    assert len(errors(caplog)) == 2
    file.path.write_bytes(good)
    assert not watched.look()
    assert watched.look()
    assert watched.problem is None
    file.path.write_bytes(good[:-10])
    assert not watched.look()
    assert not watched.look()
    assert len(errors(caplog)) == 3  # it was good in between


def test_file_that_others_may_read_is_told_and_mended_by_chmod(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    add(file, "ci")
    watched = watching(file)
    file.path.chmod(0o644)
    assert not watched.look()
    assert not watched.look()
    assert len(errors(caplog)) == 1
    file.path.chmod(0o600)
    assert not watched.look()
    assert watched.look()


def test_file_that_is_gone_is_told_once_and_read_when_it_is_back(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    text = add(file, "ci")
    watched = watching(file)
    aside = file.path.with_name("aside")
    file.path.rename(aside)
    for _ in range(3):
        assert not watched.look()
    assert errors(caplog) == ["keys.unusable"]
    assert watched.keys.identify(text, NOW)
    aside.rename(file.path)
    assert watched.look()
