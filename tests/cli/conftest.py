"""The command as its user runs it: a process of its own, in an empty directory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import warm

CHECKOUT = Path(__file__).parent.parent.parent

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment without settings of ours, and with the checkout importable."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("NOTIFIER_")}
    return kept | {"PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1"}


@pytest.fixture
def notifier(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run ``notifier`` with arguments; ``stdin`` is bytes piped in, ``variables`` come on top."""

    def run(
        *arguments: str, stdin: bytes | None = None, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return warm.run(
            *arguments, cwd=tmp_path, env=environment | (variables or {}), stdin=stdin, timeout=60
        )

    return run
