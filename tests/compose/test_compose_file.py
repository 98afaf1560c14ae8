"""``docker-compose.yml``: it is valid, and what it says fits everything it speaks of."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import chain
from typing import Any

import pytest
import yaml

from notifier.config import Settings
from notifier.config.redisurl import RedisURL
from notifier.drain import FAREWELL_SECONDS
from notifier.server import SPARE_FILES
from tests.compose.programs import FILES
from tests.handlers.serving import CHECKOUT

TEXT = (CHECKOUT / "docker-compose.yml").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
HAPROXY = (FILES / "haproxy.cfg").read_text("utf-8")
PROFILES = ("", "cluster", "sentinel")
NODES = {"": "notifier", "cluster": "cluster-notifier", "sentinel": "sentinel-notifier"}


def compose() -> list[str]:
    """The command, as a plugin of docker or a program of its own."""
    if shutil.which("docker") is not None:
        asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        pytest.fail(
            "docker compose is missing; install it with: "
            "apt-get install --no-install-recommends docker-compose"
        )
    return ["docker-compose"]


@pytest.mark.parametrize(
    "profiles", [(), ("cluster",), ("sentinel",), ("cluster", "sentinel")], ids=str
)
def test_compose_finds_it_valid(profiles: tuple[str, ...]) -> None:
    chosen = chain.from_iterable(("--profile", profile) for profile in profiles)
    done = subprocess.run(
        [*compose(), *chosen, "config", "-q"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "it has something to complain of"


def in_profile(profile: str) -> dict[str, dict[str, Any]]:
    return {
        name: service
        for name, service in SERVICES.items()
        if service.get("profiles", []) == ([profile] if profile else [])
    }


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text.removesuffix("s"))


def test_by_default_there_are_nodes_a_balancer_and_redis() -> None:
    assert set(in_profile("")) == {"notifier", "balancer", "redis"}
    assert sum(len(in_profile(profile)) for profile in PROFILES) == len(SERVICES)


def test_what_a_service_needs_starts_with_it() -> None:
    for service in SERVICES.values():
        for needed in service.get("depends_on", []):
            assert SERVICES[needed].get("profiles") == service.get("profiles")


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_can_be_written_to_and_nothing_is_allowed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_it_is_published_to_this_machine_alone_and_nothing_else_is() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8080:8080", "127.0.0.1:8081:8080", "127.0.0.1:8082:8080"]
    assert "presetenv BIND 0.0.0.0:8080" in HAPROXY
    assert all("balancer" in name for name, service in SERVICES.items() if "ports" in service)


def test_every_file_that_it_mounts_or_runs_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (CHECKOUT / source).exists()
                assert volume.endswith(":ro")
        for name in re.findall(r"/etc/notifier/(\S+)", " ".join(service.get("command", []))):
            assert (FILES / name).is_file()


def test_every_redis_has_a_volume_of_its_own() -> None:
    volumes = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.endswith(":/data")
    ]
    assert len(set(volumes)) == len(volumes)
    assert set(volumes) == set(yaml.safe_load(TEXT)["volumes"])


@pytest.mark.parametrize("profile", PROFILES)
def test_nodes_have_time_to_drain_and_files_for_everybody(profile: str) -> None:
    service = SERVICES[NODES[profile]]
    variables = service["environment"]
    names = {name.removeprefix("NOTIFIER_").lower(): text for name, text in variables.items()}
    settings = Settings(**{name: text for name, text in names.items() if text is not None})
    assert seconds(service["stop_grace_period"]) > settings.drain_seconds + 4 * FAREWELL_SECONDS
    assert service["ulimits"]["nofile"] > settings.max_connections + SPARE_FILES
    assert service["init"] is True
    url = RedisURL.parse(settings.broker)
    members = in_profile(profile)
    assert {host for host, _ in url.hosts} <= set(members)
    if url.master is not None:
        assert f"sentinel monitor {url.master} redis-primary " in (
            FILES / "sentinel.conf"
        ).read_text("utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_balancer_knows_its_nodes_and_has_files_for_everybody(profile: str) -> None:
    (balancer,) = (s for name, s in in_profile(profile).items() if name.endswith("balancer"))
    told = balancer.get("environment", {}).get("NODES")
    if told is None:
        told = re.search(r"presetenv NODES (\S+)", HAPROXY)[1]  # type: ignore[index]
    assert told == f"{NODES[profile]}:{Settings().port}"
    places = int(re.search(r"presetenv MAXCONN (\d+)", HAPROXY)[1])  # type: ignore[index]
    assert balancer["ulimits"]["nofile"] > 2 * places + SPARE_FILES
    stays = seconds(re.search(r"hard-stop-after (\S+)", HAPROXY)[1])  # type: ignore[index]
    assert seconds(balancer["stop_grace_period"]) > stays
    # Compose stops what depends on others first; nodes send everybody away through it.
    assert "depends_on" not in balancer
