"""``docs/how-to/``: the script that reacts, and the unit of systemd."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from notifier.cli.hook import FIELDS
from notifier.config import Settings
from tests.docs.markdown import blocks, read
from tests.examples.programs import (
    Program,
    environment,
    history,
    notifier_command,
    notify,
    required,
    until,
)
from tests.processes import server_process

REACTIONS = blocks(read("how-to/react-with-a-script.md"))
COMMANDS = [b.text for b in REACTIONS if b.text.startswith("notifier subscribe")]
SYSTEMD = [block for block in blocks(read("how-to/systemd.md")) if block.heading != "Many nodes"]
MANY = [block for block in blocks(read("how-to/systemd.md")) if block.heading == "Many nodes"]
(UNIT,) = (block.text for block in SYSTEMD if block.language == "ini")


# --- react-with-a-script.md ---


def command_with(text: str) -> str:
    (found,) = (command for command in COMMANDS if text in command)
    return found


class Desk:
    """A folder, the command ``notifier``, and a server."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._env = environment(port, commands=notifier_command(folder / "bin"))

    def run(self, command: str, *, since: str = "all") -> Program:
        """A command of the page, with what was there before."""
        line = command.replace(" --exec", f" --since {since} --exec", 1)
        return Program("bash", "-c", line, cwd=self.folder, env=self._env)

    def lines(self, file: str, count: int, program: Program) -> list[str]:
        path = self.folder / file
        until(lambda: path.exists() and len(path.read_text().splitlines()) >= count, program)
        return path.read_text().splitlines()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with server_process() as server:
        yield Desk(tmp_path, server.port)


def test_a_command_finds_the_fields_in_its_environment(desk: Desk) -> None:
    notify(desk.port, "alerts", title="db1", message='"; touch oops; $(touch oops)')
    with desk.run(command_with(">>alerts.log")) as program:
        assert desk.lines("alerts.log", 1, program) == ['db1: "; touch oops; $(touch oops)']
    assert not (desk.folder / "oops").exists()


def test_a_command_finds_the_whole_on_its_input(desk: Desk) -> None:
    notify(desk.port, "alerts", data={"free_bytes": 7})
    required("jq", "jq")
    with desk.run(command_with("free.log")) as program:
        assert desk.lines("free.log", 1, program) == ["7"]


def test_every_variable_is_named() -> None:
    page = read("how-to/react-with-a-script.md")
    for field in FIELDS:
        assert f"NOTIFIER_{field.upper()}" in page, field


def test_a_script_does_each_once_and_goes_on_where_it_stopped(desk: Desk) -> None:
    (script,) = (b.text for b in REACTIONS if b.text.startswith("#!"))
    build = desk.folder / "on-build.sh"
    build.write_text(script)
    build.chmod(0o755)
    command = command_with("--state")
    notify(desk.port, "builds:7", message="main", id="one")
    with desk.run(command) as program:
        assert program.line() == "building main"
    for n in ("one", "two"):
        notify(desk.port, "builds:8", message="next", id=n)
    with desk.run(command) as program:
        assert program.line() == "building next"
    assert {path.name for path in (desk.folder / "done").iterdir()} == {"one", "two"}


def test_only_the_urgent_ones(desk: Desk) -> None:
    for message, priority in (("fine", 2), ("usual", 3), ("fire", 5)):
        notify(desk.port, "alerts", message=message, priority=priority)
    notify(desk.port, "alerts", message="last", priority=4)
    with desk.run(command_with("urgent.log")) as program:
        assert desk.lines("urgent.log", 2, program) == ["fire", "last"]


def test_an_answer_is_published_once_however_often_the_command_runs(desk: Desk) -> None:
    notify(desk.port, "deploys", message="v7")
    command = command_with("notifier publish ops")
    for _ in range(2):
        with desk.run(command + " --count 1") as program:
            assert program.exit_code() == 0
    assert [n["message"] for n in history(desk.port, "ops")] == ["seen: v7"]


# --- systemd.md ---


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_the_unit_fits_the_settings_beside_it(tmp_path: Path) -> None:
    """``systemd-analyze verify`` is content with it; what it can't know is checked here."""
    lines = [line for line in UNIT.splitlines() if line and not line.startswith(("#", "["))]
    unit = dict(line.split("=", 1) for line in lines)
    (toml,) = (block.text for block in SYSTEMD if block.language == "toml")
    settings = Settings(**tomllib.loads(toml), keys_file="keys")
    assert seconds(unit["TimeoutStopSec"]) > settings.drain_seconds + 10
    assert int(unit["LimitNOFILE"]) > settings.max_connections + 100
    assert settings.broker.startswith(f"sqlite:/var/lib/{unit['StateDirectory']}/")
    program, *arguments = unit["ExecStart"].split()
    (install, *_) = (b.text for b in SYSTEMD if "-m venv" in b.text)
    assert program.removesuffix("/bin/notifier") == re.findall(r"venv (\S+)", install)[0]
    # The very command, with the files where they may be here.
    file = tmp_path / "notifier.toml"
    file.write_text(toml.replace("/var/lib/notifier", str(tmp_path)))
    assert arguments == ["serve", "--config", "/etc/notifier.toml", "--keys-file", "%d/keys"]
    handed_on, _, made = unit["LoadCredential"].partition(":")
    assert arguments[-1] == f"%d/{handed_on}"
    (create,) = (b.text for b in SYSTEMD if "key create" in b.text)
    assert create.split()[-1] == made
    keys = str(tmp_path / handed_on)
    command = create.replace(program, "notifier").replace("'", "").split()[1:-1]
    done = subprocess.run(
        [sys.executable, "-m", "notifier", *command, keys], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with server_process("--config", str(file), "--keys-file", keys) as server:
        request = Request(
            f"http://127.0.0.1:{server.port}/notify/alerts",
            b"under systemd",
            {"Authorization": f"Bearer {done.stdout.strip()}"},
        )
        with urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        assert (tmp_path / "notifier.db").exists()


def test_settings_of_many_nodes_are_understood() -> None:
    (toml,) = (block.text for block in MANY if block.language == "toml")
    assert Settings(**tomllib.loads(toml)).broker.startswith("redis://")
