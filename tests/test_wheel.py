"""The built wheel, installed into an empty venv outside the checkout, is the whole service."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.serving import PATIENCE

CHECKOUT = Path(__file__).parent.parent
SOURCES = ("notifier", "handlers", "static")
LISTENING = re.compile(r"server\.listening url=(\S+)")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources: what lies about in the checkout can't slip in."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(CHECKOUT / name, source)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    _run(command, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a venv with nothing but the wheel and what it requires."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    _run([python, "-m", "pip", "install", "--quiet", "--no-input", str(wheel)], cwd=place)
    return place / "bin"


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of the installed server."""
    process = subprocess.Popen(
        [installed / "notifier", "serve", "--port", "0", "--drain-seconds", "0"],
        cwd=tmp_path,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process:
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := LISTENING.search(line):
                    break
            else:
                pytest.fail("it did not start:\n" + "".join(lines))
            yield found[1]
        finally:
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, rest


def test_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for name in SOURCES:
        for path in (CHECKOUT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                place = path.relative_to(CHECKOUT)
                expected.add(str(Path("notifier") / place if name == "static" else place))
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected, "see packages and package_data in setup.cfg"


def test_installed_service_serves_its_page_and_takes_a_notification(
    served: str, installed: Path, tmp_path: Path
) -> None:
    page = _get(served + "/")
    assert page.lstrip().lower().startswith(b"<!doctype html>")
    script = _get(served + "/static/notifier.js")
    assert script == (CHECKOUT / "static" / "notifier.js").read_bytes()
    done = _run(
        [installed / "notifier", "publish", "alerts", "hello", "--url", served, "--json"],
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["channel"] == "alerts"
    history = json.loads(_get(served + "/channels/alerts/history?since=all"))
    assert [item["message"] for item in history["publications"]] == ["hello"]


def test_installed_service_reads_nothing_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    program = (
        "import json, sys, handlers.routes, notifier.server, notifier.assets as assets;"
        "print(json.dumps([assets.static_path().as_posix(), sys.path, "
        "[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in "
        "('notifier', 'handlers') and getattr(m, '__file__', None)]]))"
    )
    done = _run([installed / "python", "-c", program], cwd=tmp_path)
    static, path, modules = json.loads(done.stdout)
    inside = str(installed.parent)
    assert static.startswith(inside)
    assert modules and all(file.startswith(inside) for file in modules)
    assert not [entry for entry in path if entry and Path(entry).is_relative_to(CHECKOUT)]


def _environment() -> dict[str, str]:
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("NOTIFIER_", "PYTHON", "VIRTUAL_ENV"))
    }


def _run(command: list[str | Path], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def _get(url: str) -> bytes:
    # No proxy: the environment may name one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body
