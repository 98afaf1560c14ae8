"""``docs/how-to/scale-out.md`` and the README: their commands fit ``docker-compose.yml``."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from notifier.config import Settings
from notifier.config.redisurl import RedisURL
from tests.compose.programs import FILES
from tests.docs.markdown import CHECKOUT, blocks, read
from tests.docs.webservers import web_servers

PAGE = read("how-to/scale-out.md")
BLOCKS = blocks(PAGE)
COMPOSE = (CHECKOUT / "docker-compose.yml").read_text("utf-8")
SERVICES = yaml.safe_load(COMPOSE)["services"]
COMMANDS = [
    line
    for block in [*BLOCKS, *blocks((CHECKOUT / "README.md").read_text("utf-8"))]
    if block.language == "sh"
    for line in block.text.splitlines()
    if "docker compose" in line
]


def test_the_commands_are_those_at_the_top_of_the_file() -> None:
    stated = re.findall(r"^#   (docker compose .*?)\s{2,}", COMPOSE, re.MULTILINE)
    assert len(stated) == 3
    assert set(stated) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_service_and_profile_that_is_named_is_there(command: str) -> None:
    words = shlex.split(command.partition("docker compose")[2].rstrip(")"))
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    for option, value in pairwise(words):
        if option == "--profile":
            assert value in profiles
        if option == "--scale":
            assert value.partition("=")[0] in SERVICES
    verb = next(n for n, word in enumerate(words) if word in ("up", "build", "ps"))
    values = {n + 1 for n, word in enumerate(words) if word in ("--scale", "--profile")}
    for n, word in enumerate(words):
        if n > verb and n not in values and not word.startswith("-"):
            assert word in SERVICES


def test_every_address_that_is_named_is_published() -> None:
    published = {
        port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])
    }
    named = set(re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", PAGE))
    assert named == published


def test_brokers_in_the_table_are_understood() -> None:
    urls = re.findall(r"^\| `([a-z+]+://\S+)` \|", PAGE, re.MULTILINE)
    assert len(urls) == 4
    for url in urls:
        assert Settings(broker=url).broker == url
        RedisURL.parse(url)


def test_the_command_for_a_machine_is_understood() -> None:
    (command,) = (block.text for block in BLOCKS if block.text.startswith("notifier serve"))
    arguments = shlex.split(command.replace("\\\n", "").removeprefix("notifier serve"))
    shown = [sys.executable, "-m", "notifier", "config", "show", *arguments]
    done = subprocess.run(shown, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nodes_by_address_fit_the_balancers_file(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (servers,) = (block.text for block in BLOCKS if block.language == "haproxy")
    text, count = re.subn(
        r"^    server-template .*$", servers, (FILES / "haproxy.cfg").read_text(), flags=re.M
    )
    assert count == 1
    (tmp_path / "haproxy.cfg").write_text(text)
    haproxy = web_servers(request.config.cache.mkdir("web-servers"))["haproxy"]  # type: ignore[union-attr]
    command = [haproxy.path, "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(
        command, env=dict(haproxy.environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_prometheus_is_pointed_to_the_nodes() -> None:
    (block,) = (block for block in BLOCKS if block.language == "yaml")
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    (where,) = job["dns_sd_configs"]
    assert where["names"] == ["notifier"] and where["port"] == Settings().port
