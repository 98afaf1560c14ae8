"""A Redis of our own, for nodes that are to be joined."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.plan import Plan
from bench.process import free_port, spawn
from bench.stage import kept_to


def missing() -> str | None:
    return None if shutil.which("redis-server") else "no redis-server"


def version() -> str:
    said = subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return said.split("v=")[1].split()[0]


@contextlib.contextmanager
def redis(plan: Plan) -> Iterator[str]:
    """Its URL. It runs beside the load, and writes nothing to disk."""
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        port = free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with kept_to(plan.other_cores):
            command = ["redis-server", "--port", str(port), *options]
            running = spawn(command, port=port, folder=Path(folder))
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            running.stop()
