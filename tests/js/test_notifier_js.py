"""The JavaScript client's own tests, run by Node's test runner (`node --test tests/js`)."""

import shutil
import subprocess
from pathlib import Path

import pytest


def test_javascript_client_passes_its_own_tests() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js 18 or later is missing; install it with: apt-get install nodejs")
    run = subprocess.run(
        [node, "--test", str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, f"node --test failed:\n{run.stdout}\n{run.stderr}"
    assert "# tests 0" not in run.stdout, "node found no tests"
