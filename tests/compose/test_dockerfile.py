"""``Dockerfile``: what it does, done here, as far as that goes without containers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.compose.programs import PATIENCE, program, until
from tests.handlers.serving import CHECKOUT
from tests.redisservers.ports import free_port

# Continued lines are one (Dockerfile reference, "Format").
TEXT = re.sub(r"\\\n", "", (CHECKOUT / "Dockerfile").read_text("utf-8"))
LINES = [line.strip() for line in TEXT.splitlines() if line and not line.startswith("#")]


def all_of(instruction: str) -> list[str]:
    return [
        line.removeprefix(instruction).strip()
        for line in LINES
        if line.startswith(f"{instruction} ")
    ]


def only(instruction: str) -> str:
    (found,) = all_of(instruction)
    return found


def listed(text: str) -> list[str]:
    """An instruction's exec form."""
    parsed: list[str] = json.loads(text)
    return parsed


def test_no_frontend_is_fetched_to_build_it() -> None:
    assert "syntax=" not in TEXT


def test_its_user_is_a_number_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", only("USER"))
    last = max(LINES.index(line) for line in LINES if line.startswith(("RUN", "COPY")))
    assert LINES.index(f"USER {only('USER')}") > last


def test_every_file_of_the_context_is_there() -> None:
    rules = (CHECKOUT / ".dockerignore").read_text("utf-8").split()
    assert rules[0] == "*"
    for rule in rules:
        if rule.startswith("!"):
            assert (CHECKOUT / rule[1:]).exists(), rule


@dataclass(frozen=True, slots=True)
class Image:
    """What the second stage has: the folder ``/app``, elsewhere."""

    app: Path

    def environment(self, port: int) -> dict[str, str]:
        given = dict(variable.split("=", 1) for variable in shlex.split(only("ENV")))
        given["PATH"] = (
            given["PATH"].replace("/app", str(self.app)).replace("$PATH", os.environ["PATH"])
        )
        # Bytecode is written when it is built, and cannot be later.
        return given | {
            "NOTIFIER_HOST": "127.0.0.1",
            "NOTIFIER_PORT": str(port),
            "NOTIFIER_DRAIN_SECONDS": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The first stage, as it is written, of what .dockerignore lets in."""
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        source = folder / "src"
        source.mkdir()
        for rule in (CHECKOUT / ".dockerignore").read_text("utf-8").split():
            name = rule.removeprefix("!")
            if rule.startswith("!") and (CHECKOUT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
            elif rule.startswith("!"):
                shutil.copy(CHECKOUT / name, source)
        command = only("RUN").replace("/app", f"{folder}/app")
        command = re.sub(r"\bpython -m\b", f"{sys.executable} -m", command)
        command = re.sub(r"\bpip --", f"{sys.executable} -m pip --", command)
        done = subprocess.run(
            command, shell=True, cwd=source, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(source)
        yield Image(folder / "app")
    finally:
        shutil.rmtree(folder)


@contextmanager
def running(image: Image, folder: Path, port: int, *before: str) -> Iterator[dict[str, str]]:
    """The image's command; the environment it has."""
    environment = image.environment(port)
    entry = shutil.which(*listed(only("ENTRYPOINT")), path=environment["PATH"])
    assert entry is not None and entry.startswith(str(image.app))
    command = [*before, entry, *listed(only("CMD"))]
    with program(*command, folder=folder, environment=environment) as process:
        yield environment
        process.terminate()
        assert process.wait(PATIENCE) == 0


def healthy(environment: dict[str, str]) -> bool:
    """As docker finds out."""
    words = only("HEALTHCHECK").partition(" CMD ")[2]
    done = subprocess.run(
        # Not found by this process's own PATH.
        ["env", *listed(words)],
        # A proxy that is there for the world must not be asked about ourselves.
        env=environment | {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode == 0


def test_its_health_is_what_the_node_says(image: Image, tmp_path: Path) -> None:
    port = free_port()
    with running(image, tmp_path, port) as environment:
        until(lambda: healthy(environment))
        assert f'"url": "http://127.0.0.1:{port}"'.replace(" ", "") in (
            (tmp_path / "log").read_text().replace(" ", "")
        )
    began = time.monotonic()
    assert not healthy(environment)
    assert time.monotonic() - began < 3
    # Nobody answers for this Redis: the node runs, and is not ready.
    nowhere = {"NOTIFIER_BROKER": f"redis://127.0.0.1:{free_port()}"}
    environment = image.environment(port) | nowhere
    command = [image.app / "bin" / "notifier", "serve"]
    with program(*command, folder=tmp_path / "broken", environment=environment):
        log = tmp_path / "broken" / "log"
        until(lambda: "server.listening" in log.read_text())
        assert not healthy(environment)


# Python tells of every file it opens, and every folder it makes (PEP 578).
WATCH = """
import os, runpy, sys

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and path != os.devnull and not isinstance(path, int):
            os.write(2, f"WRITES {path!r}\\n".encode())
    elif event in {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link"}:
        os.write(2, f"WRITES {event} {arguments!r}\\n".encode())

sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_writes_to_no_file(image: Image, tmp_path: Path) -> None:
    """So the root filesystem may be read-only, and the user owns nothing."""
    script = tmp_path / "watch.py"
    script.write_text(WATCH)
    python = str(image.app / "bin" / "python")
    with running(image, tmp_path, free_port(), python, str(script)) as environment:
        until(lambda: healthy(environment))
    said = (tmp_path / "log").read_text()
    assert "server.stopped" in said
    assert "WRITES" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"watch.py", "log"}


def test_it_holds_no_sources_and_no_tools_to_build(image: Image) -> None:
    packages = next(image.app.glob("lib/python*/site-packages"))
    names = {path.name for path in packages.iterdir()}
    assert {"notifier", "handlers", "tornado", "redis"} <= names
    assert not {"pip", "setuptools", "wheel", "tests", "pytest"} & names
