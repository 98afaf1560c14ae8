"""Packages from npm, a server, and programs between the two."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.serving import Server
from tests.faults import FaultProxy
from tests.js.following import Follower

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the packages of package.json are installed."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is missing; install it with: apt-get install npm")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(HERE / "package.json", folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"npm could not install {HERE / 'package.json'}:\n{done.stdout}{done.stderr}")
    return folder


@pytest.fixture
def follow(package: Path) -> Iterator[Callable[..., Follower]]:
    """Starts a program of this folder with more arguments."""
    started: list[Follower] = []

    def follow(program: str, *arguments: str) -> Follower:
        started.append(Follower(HERE / program, package, *arguments))
        return started[-1]

    yield follow
    for follower in started:
        follower.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as running:
        yield running
