from __future__ import annotations

import json
import tomllib
from pathlib import Path

from notifier.config import Settings
from tests.cli.conftest import Run


def test_show_writes_a_file_that_says_the_same(notifier: Run, tmp_path: Path) -> None:
    arguments = ["--port", "9", "--allowed-hosts", "a,b", "--insecure", "--history-ttl", "2d"]
    arguments += ["--namespaces", '{"audit": {"history_size": 5}, "é": {"history_ttl": 60}}']
    shown = notifier("config", "show", *arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    parsed = tomllib.loads(shown.stdout)
    assert (parsed["port"], parsed["allowed_hosts"], parsed["history_ttl"]) == (9, ["a", "b"], "2d")
    (tmp_path / "notifier.toml").write_text(shown.stdout)
    again = notifier("config", "show", "--format", "json")
    values = {key: entry["value"] for key, entry in json.loads(again.stdout).items()}
    assert values == parsed
    assert values.keys() == Settings.model_fields.keys()


def test_show_says_where_each_comes_from(notifier: Run, tmp_path: Path) -> None:
    file = tmp_path / "notifier.toml"
    file.write_text("max_batch = 5")
    variables = {"NOTIFIER_MAX_CHANNELS": "7"}
    shown = notifier("config", "show", "--port", "9", variables=variables)
    assert "port = 9  # flag --port\n" in shown.stdout
    assert "max_batch = 5  # file notifier.toml\n" in shown.stdout
    assert "max_channels = 7  # environment NOTIFIER_MAX_CHANNELS\n" in shown.stdout
    assert 'host = "127.0.0.1"  # default\n' in shown.stdout
    shown = notifier("config", "show", "--format", "json", "--port", "9", variables=variables)
    settings = json.loads(shown.stdout)
    assert settings["port"] == {"value": 9, "from": "flag", "name": "--port"}
    assert settings["host"] == {"value": "127.0.0.1", "from": "default"}


def test_switch_is_turned_on_by_its_flag_alone_and_off_by_its_value(
    notifier: Run, tmp_path: Path
) -> None:
    (tmp_path / "notifier.toml").write_text("presence = true")
    assert "presence = true  # file" in notifier("config", "show").stdout
    shown = notifier("config", "show", "--presence", "false", "--port", "9").stdout
    assert "presence = false  # flag --presence\n" in shown
    (tmp_path / "notifier.toml").unlink()
    assert "presence = false  # default\n" in notifier("config", "show").stdout
    shown = notifier("config", "show", "--presence", "--port", "9").stdout
    assert "presence = true  # flag --presence\n" in shown and "port = 9" in shown


def test_check_passes_a_good_file(notifier: Run, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("port = 1")
    done = notifier("config", "check", "good.toml", variables={"NOTIFIER_POTR": "1"})
    assert done.returncode == 0
    assert done.stdout == f"✓ good.toml: good (1 of {len(Settings.model_fields)} set)\n"
    assert "NOTIFIER_POTR in the environment is no setting; did you mean NOTIFIER_PORT?" in (
        done.stderr
    )


def test_check_refuses_a_bad_file_and_says_all_that_is_wrong(notifier: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("prot = 1\nmax_batch = 0")
    done = notifier("config", "check", "bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: these settings can't be used:\n"
        "  max_batch = 0 in bad.toml: must be greater than or equal to 1\n"
        "  prot in bad.toml is no setting; did you mean port?\n"
    )


def test_serve_refuses_bad_settings_before_it_starts(notifier: Run) -> None:
    done = notifier("serve", "--port", "http")
    assert (done.returncode, done.stderr) == (2, "error: --port http: must be a whole number\n")
    done = notifier("serve", "--broker", "nats://h")
    assert done.returncode == 2
    assert "supported: memory:" in done.stderr
