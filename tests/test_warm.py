"""A program that the nursery made is one that was started from nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("NOTIFIER_")} | {
    "PYTHONPATH": str(warm.CHECKOUT),
    "NOTIFIER_PORT": "81",
}


@pytest.mark.parametrize(
    ("arguments", "stdin", "status"),
    [
        (["config", "show"], None, 0),
        (["token", "check", "-"], "é".encode() * 50_000, 1),
        (["serve", "--workers", "2"], None, 2),
        (["nonsense"], None, 2),
    ],
    ids=lambda arguments: arguments[0] if isinstance(arguments, list) else None,
)
def test_it_says_the_same_and_ends_the_same(
    tmp_path: Path, arguments: list[str], stdin: bytes | None, status: int
) -> None:
    (tmp_path / "notifier.toml").write_text('token_secret = "kQ3vX9bT2nL7wZ5rY1mC8dF4gH6jP0sA"')
    command = [sys.executable, "-m", "notifier", *arguments]
    cold = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, input=stdin or b"", capture_output=True
    )
    done = warm.run(*arguments, cwd=tmp_path, env=ENVIRONMENT, stdin=stdin, timeout=60)
    assert done.stdout == cold.stdout.decode()
    assert done.stderr == cold.stderr.decode()
    assert done.returncode == cold.returncode == status


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)]
)
def test_signals_reach_it_and_its_end_is_told(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with warm.Program(
        *("serve", "--port", "0"), cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE
    ) as program:
        assert program.stderr is not None
        assert b"server.listening" in program.stderr.readline()
        assert program.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.01)
        program.send_signal(number)
        assert program.wait(60) == status
        program.kill()  # of what has ended, nobody's any more
    assert program.returncode == status
