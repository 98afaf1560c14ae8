"""The list of the examples has them all."""

from __future__ import annotations

import re

from tests.examples.programs import EXAMPLES

README = (EXAMPLES / "README.md").read_text("utf-8")


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"^\| \[`([^`]+)`\]", README, flags=re.MULTILINE))
    files = {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.*") if path.is_file()}
    there = {str(path) for path in files if path.suffix in (".html", ".cpp", ".sh", ".py")}
    assert listed == there


def test_scripts_can_be_run() -> None:
    for script in EXAMPLES.glob("*.sh"):
        assert script.stat().st_mode & 0o111, script
