"""The parts of ``docker-compose.yml`` on loopback: nodes, and the balancer with its own file."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.compose.nameserver import NameServer
from tests.docs.webservers import WebServer
from tests.handlers.serving import CHECKOUT
from tests.processes import Process
from tests.redisservers.ports import free_port

FILES = CHECKOUT / "examples" / "compose"
# A deadlock, not slowness.
PATIENCE = 30.0


def until(condition: Callable[[], object], *, every: float = 0.05) -> None:
    """Wait for something that another process brings about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(every)


@contextmanager
def program(
    *command: str | Path, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until the end; what it says goes to a file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- the whole ---


@dataclass(slots=True)
class Deployment:
    """Three nodes and their balancer."""

    port: int
    names: NameServer
    # By address.
    nodes: dict[str, Process] = field(default_factory=dict)
    log: Path = Path()

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @contextmanager
    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        """One request to the balancer."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def publish(self, channel: str, message: str) -> dict[str, Any]:
        body = json.dumps({"channel": channel, "message": message}).encode()
        with self.request("POST", "/notify", body) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            assert answer.status == 200, said
        return said

    def ready(self) -> bool:
        with self.request("GET", "/health/ready") as answer:
            return answer.status == 200

    def connections(self) -> dict[str, int]:
        """How many clients each node has, asked directly."""
        return {address: connections(address, node.port) for address, node in self.nodes.items()}

    def found(self) -> int:
        """How many nodes the balancer has found by now."""
        return len(set(re.findall(r"(node\d+) \('notifier'\) is UP", self.log.read_text())))

    def lost(self) -> set[str]:
        """The nodes whose names are gone, as the balancer calls them."""
        return set(re.findall(r"(node\d+) is going DOWN for maintenance", self.log.read_text()))


def connections(address: str, port: int) -> int:
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    lines = [line for line in text.splitlines() if line.startswith("notifier_connections{")]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


@contextmanager
def deployment(
    haproxy: WebServer,
    folder: Path,
    *settings: str,
    nodes: int = 3,
    names: int = 3,
    **variables: str,
) -> Iterator[Deployment]:
    """``docker compose up --scale notifier=3``: nodes with the settings, and the balancer.

    :param names: of the nodes, how many the balancer can find at the beginning.
    :param variables: for the balancer's configuration.
    """
    addresses = [f"127.0.4.{n + 1}" for n in range(nodes)]
    port = free_port()
    with ExitStack() as stack:
        known = stack.enter_context(NameServer(*addresses[:names]))
        running: dict[str, Process] = {}
        for address in addresses:
            where = ("--host", address, "--port", str(port))
            running[address] = Process(*where, *settings, name=f"node {address}")
            stack.callback(running[address].end)
        for node in running.values():
            node.wait_until_listening()
        balancer = free_port()
        given = {
            "BIND": f"127.0.0.1:{balancer}",
            "NODES": f"notifier:{port}",
            "DNS": f"127.0.0.1:{known.port}",
            "MAXCONN": "1000",
        }
        environment = {**haproxy.environment, **given, **variables}
        command = [haproxy.path, "-db", "-f", FILES / "haproxy.cfg"]
        log = folder / "balancer"
        stack.enter_context(program(*command, folder=log, environment=environment))
        whole = Deployment(balancer, known, running, log / "log")
        until(lambda: whole.found() == names)
        yield whole
