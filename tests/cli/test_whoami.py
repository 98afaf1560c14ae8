"""Keys and tokens on the command line: where they come from, and what is said of bad ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from tests.cli.conftest import Run
from tests.processes import server_process


@dataclass
class Guarded:
    url: str
    key: str
    reader: str


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    file = KeyFile(tmp_path_factory.mktemp("keys") / "keys.toml")
    shown = {}
    for name, scopes, channels in (
        ("all", set(Scope), ["*"]),
        ("reader", {Scope.SUBSCRIBE, Scope.HISTORY}, ["alerts"]),
    ):
        key, shown[name] = make_key(
            name, scopes=scopes, channels=Reach.of(channels), created=time.time()
        )
        file.add(key)
    with server_process("--keys-file", str(file.path), "--presence") as process:
        yield Guarded(f"http://127.0.0.1:{process.port}", shown["all"], shown["reader"])


COMMANDS = [
    ["publish", "alerts", "hello"],
    ["publish", "--ndjson", "lines.ndjson"],
    ["history", "alerts"],
    ["channels"],
    ["presence", "alerts"],
    ["nodes"],
    ["subscribe", "alerts", "--since", "-1", "--count", "1"],
    ["bench", "--sockets", "2", "--seconds", "0.2"],
]


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_every_command_that_asks_a_server_shows_the_key(
    notifier: Run, guarded: Guarded, tmp_path: Path, command: list[str], where: str
) -> None:
    (tmp_path / "key").write_text(guarded.key + "\n")
    (tmp_path / "lines.ndjson").write_text('{"channel": "alerts", "message": "x"}\n')
    first = notifier(
        "publish", "alerts", "m", "--url", guarded.url, variables={"NOTIFIER_API_KEY": guarded.key}
    )
    assert first.returncode == 0
    if where == "file":
        # A file that was named wins over the environment.
        done = notifier(
            *command,
            *("--url", guarded.url, "--key-file", "key"),
            variables={"NOTIFIER_API_KEY": "nk_wrong"},
        )
    else:
        done = notifier(*command, "--url", guarded.url, variables={"NOTIFIER_API_KEY": guarded.key})
    assert done.returncode == 0, done.stderr
    assert guarded.key not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if command != ["channels"]],
    ids=lambda command: " ".join(command[:2]),
)
def test_who_shows_none_is_told_how(
    notifier: Run, guarded: Guarded, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "lines.ndjson").write_text('{"channel": "alerts", "message": "x"}\n')
    done = notifier(*command, "--url", guarded.url)
    assert done.returncode == 1
    assert "needs a key" in done.stderr
    assert "--key-file FILE, or the variable NOTIFIER_API_KEY" in done.stderr


def test_who_shows_a_wrong_one_is_told_where_it_was_read(
    notifier: Run, guarded: Guarded, tmp_path: Path
) -> None:
    wrong = guarded.key[:-1] + "-"
    for command in (["publish", "alerts", "m"], ["history", "alerts"]):
        done = notifier(*command, "--url", guarded.url, variables={"NOTIFIER_API_KEY": wrong})
        assert done.returncode == 1
        assert "code 40101" in done.stderr
        assert "read from NOTIFIER_API_KEY" in done.stderr
        assert wrong not in done.stderr


def test_who_may_not_is_told_what_would_do(notifier: Run, guarded: Guarded) -> None:
    variables = {"NOTIFIER_API_KEY": guarded.reader}
    done = notifier("publish", "alerts", "m", "--url", guarded.url, variables=variables)
    assert done.returncode == 1
    assert "code 40302" in done.stderr
    assert "notifier key create NAME --scope publish --channel 'alerts'" in done.stderr
    done = notifier("nodes", "--url", guarded.url, variables=variables)
    assert "notifier key create NAME --scope admin" in done.stderr


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two words", b"a\nb", b'nk_a"b', b"\xff\xfe", b"x" * 9000]
)
def test_a_file_without_a_key_is_told(notifier: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    for command in (["publish", "alerts", "m"], ["history", "alerts"]):
        done = notifier(*command, "--key-file", "key")
        assert done.returncode == 2
        assert "no key and no token" in done.stderr
    done = notifier("history", "alerts", "--key-file", "elsewhere")
    assert (done.returncode, "can't be read" in done.stderr) == (2, True)


def test_the_variable_is_no_setting_of_the_server(notifier: Run) -> None:
    done = notifier("config", "show", variables={"NOTIFIER_API_KEY": "nk_secret"})
    assert done.returncode == 0, done.stderr
    assert "nk_secret" not in done.stdout + done.stderr


def test_a_command_of_exec_finds_the_notifications_key_and_ours(
    notifier: Run, guarded: Guarded
) -> None:
    variables = {"NOTIFIER_API_KEY": guarded.key}
    notifier("publish", "exec", "m", "--key", "k7", "--url", guarded.url, variables=variables)
    script = 'test "$NOTIFIER_KEY" = k7 && test -n "$NOTIFIER_API_KEY"'
    done = notifier(
        *("subscribe", "exec", "--since", "all", "--count", "1", "--exec", script),
        *("--url", guarded.url, "--json"),
        variables=variables,
    )
    assert (done.returncode, "exit code" in done.stderr) == (0, False)
