"""nginx, HAProxy and Caddy: those of the system, or unpacked for the tests alone.

They are not installed: a web server's package starts it, for all the world, and at every boot.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("nginx", "haproxy", "caddy")
_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin")
_HINT = "install them with: apt-get install --no-install-recommends " + " ".join(NAMES)


@dataclass(frozen=True, slots=True)
class WebServer:
    """A program, and the environment it runs in."""

    path: str
    environment: Mapping[str, str]


def web_servers(cache: Path) -> dict[str, WebServer]:
    """All three; what the system lacks is unpacked into ``cache``, once."""
    missing = [name for name in NAMES if _find(name, Path("/")) is None]
    # Another worker of pytest may want them now, and must not find half of them.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(_find(name, cache) is None for name in missing):
            _unpack(missing, cache)
    libraries = ":".join(str(folder) for folder in cache.glob("usr/lib/*-linux-*"))
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
    found = {name: _find(name, Path("/")) or _find(name, cache) for name in NAMES}
    if absent := [name for name, path in found.items() if path is None]:
        pytest.fail(f"missing: {', '.join(absent)}; {_HINT}")
    return {name: WebServer(str(path), environment) for name, path in found.items()}


def _find(name: str, root: Path) -> str | None:
    path = os.pathsep.join(str(root / folder) for folder in _FOLDERS)
    return shutil.which(name, path=path)


def _unpack(packages: list[str], cache: Path) -> None:
    archives = cache / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    # Fetches what these need and the system lacks. Without a lock: nothing is changed.
    fetch = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only"]
    options = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={archives}"]
    try:
        run = {"check": True, "capture_output": True, "text": True, "timeout": 300}
        subprocess.run([*fetch, *options, "install", *packages], **run)  # type: ignore[call-overload]
        for archive in archives.glob("*.deb"):
            subprocess.run(["dpkg", "-x", archive, cache], **run)  # type: ignore[call-overload]
    except OSError as error:
        pytest.fail(f"missing: {', '.join(packages)} ({error}); {_HINT}")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"missing: {', '.join(packages)}; {_HINT}\n{error.stderr}")
    shutil.rmtree(archives)
