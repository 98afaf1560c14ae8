from __future__ import annotations

import json
import platform

import pytest

from notifier import __version__
from notifier.config import Settings
from notifier.config.settings import flag_name
from tests.cli.conftest import Run

COMMANDS = [
    [],
    ["serve"],
    ["publish"],
    ["subscribe"],
    ["history"],
    ["channels"],
    ["presence"],
    ["nodes"],
    ["key"],
    ["key", "create"],
    ["key", "list"],
    ["key", "revoke"],
    ["token"],
    ["token", "make"],
    ["token", "check"],
    ["config"],
    ["config", "show"],
    ["config", "check"],
    ["version"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_examples(notifier: Run, command: list[str]) -> None:
    done = notifier(*command, "--help")
    assert done.returncode == 0
    assert "\nExamples:\n  notifier" in done.stdout
    assert notifier(*command, "-h").stdout == done.stdout


def test_help_of_serve_shows_every_setting_in_groups(notifier: Run) -> None:
    text = notifier("serve", "--help").stdout
    for key in Settings.model_fields:
        assert f"  {flag_name(key)} " in text
    for heading in ("Network:", "History:", "Access:", "Limits:", "Connections:", "Logging:"):
        assert f"\n{heading}\n" in text


def test_version_names_what_matters(notifier: Run) -> None:
    versions = json.loads(notifier("version", "--json").stdout)
    assert list(versions) == ["notifier", "python", "tornado", "redis", "pydantic"]
    assert (versions["notifier"], versions["python"]) == (__version__, platform.python_version())
    assert f"tornado   {versions['tornado']}\n" in notifier("version").stdout
    assert notifier("--version").stdout == f"notifier {__version__}\n"


def test_unknown_command_exits_2(notifier: Run) -> None:
    done = notifier("server")
    assert done.returncode == 2
    assert "No such command 'server'" in done.stderr
