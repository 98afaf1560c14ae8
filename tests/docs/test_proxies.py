"""``docs/how-to/behind-a-proxy.md``: its configurations, in the real programs, on loopback."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.docs.markdown import blocks, read
from tests.docs.webservers import NAMES, WebServer, web_servers
from tests.examples.programs import PATIENCE
from tests.processes import server_process

NAME = "push.example.org"
CONFIGURATIONS = {
    block.heading.lower(): block.text
    for block in blocks(read("how-to/behind-a-proxy.md"))
    if block.language in NAMES
}


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> dict[str, WebServer]:
    return web_servers(request.config.cache.mkdir("web-servers"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for the name, and its key."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is missing; install it with: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME} -keyout key -out certificate "
        "&& cat certificate key >both.pem"
    )
    subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
    return folder / "both.pem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def changed(text: str, changes: dict[str, str]) -> str:
    """With the places of a reader's machine put in; each is named in the page."""
    for old, new in changes.items():
        assert old in text, f"the page no longer says {old!r}"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True, slots=True)
class Setup:
    """One proxy's files and commands, for the page's configuration put to the test."""

    program: WebServer
    folder: Path
    port: int
    backend: int
    certificate: Path

    @property
    def common(self) -> dict[str, str]:
        return {"127.0.0.1:8888": f"127.0.0.1:{self.backend}"}

    def nginx(self) -> tuple[list[str], list[str]]:
        server = changed(
            CONFIGURATIONS["nginx"],
            self.common
            | {
                "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
                f"/etc/ssl/{NAME}.pem": str(self.certificate),
                f"/etc/ssl/{NAME}.key": str(self.certificate),
                "75s": "4s",
            },
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        path = self.folder / "nginx.conf"
        path.write_text(
            f"daemon off;\npid {self.folder}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}{server}\n}}\n"
        )
        command = [self.program.path, "-p", str(self.folder), "-e", "stderr", "-c", str(path)]
        return [*command, "-t"], command

    def haproxy(self) -> tuple[list[str], list[str]]:
        path = self.folder / "haproxy.cfg"
        places = {
            "bind :443": f"bind 127.0.0.1:{self.port}",
            f"/etc/ssl/{NAME}.pem": str(self.certificate),
            "75s": "4s",
        }
        path.write_text(changed(CONFIGURATIONS["haproxy"], self.common | places) + "\n")
        command = [self.program.path, "-f", str(path)]
        return [*command, "-c"], [*command, "-db"]

    def caddy(self) -> tuple[list[str], list[str]]:
        path = self.folder / "Caddyfile"
        tls = f"\ttls {self.certificate} {self.certificate}"
        places = {f"{NAME} {{": f"https://{NAME}:{self.port} {{\n{tls}"}
        site = changed(CONFIGURATIONS["caddy"], self.common | places)
        path.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}\n")
        arguments = ["--config", str(path), "--adapter", "caddyfile"]
        return [self.program.path, "validate", *arguments], [self.program.path, "run", *arguments]


@dataclass(frozen=True, slots=True)
class Site:
    """The server as it is seen through the proxy."""

    proxy: str
    port: int
    trust: ssl.SSLContext

    @property
    def authority(self) -> str:
        return f"{NAME}:{self.port}"

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def web_socket(self, path: str, *, origin: str) -> ClientConnection:
        return connect(
            f"wss://{self.authority}{path}",
            sock=self.socket(),
            ssl=self.trust,
            origin=origin,  # type: ignore[arg-type]
            ping_interval=None,
        )

    @contextmanager
    def request(
        self, method: str, path: str, *, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.authority)
        connection.sock = self.trust.wrap_socket(self.socket(), server_hostname=NAME)
        try:
            connection.request(method, path, body, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def publish(self, channel: str, text: str) -> None:
        own = {"Origin": f"https://{self.authority}", "Content-Type": "text/plain"}
        path = f"/notify/{channel}"
        with self.request("POST", path, body=text.encode(), **own) as answer:
            assert answer.status == 200, answer.read()


def until_it_listens(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture(scope="module", params=NAMES)
def site(
    request: pytest.FixtureRequest,
    programs: dict[str, WebServer],
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A server behind the proxy; both give up idle connections, and ping, early."""
    folder = tmp_path_factory.mktemp("proxy")
    with server_process("--allowed-hosts", NAME, "--insecure", "--ping-interval", "1s") as server:
        program = programs[request.param]
        setup = Setup(program, folder, free_port(), server.port, certificate)
        check, command = getattr(setup, request.param)()
        environment = {**program.environment, "HOME": str(folder)}
        checked = subprocess.run(check, env=environment, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            until_it_listens(setup.port, process)
            trust = ssl.create_default_context(cafile=certificate)
            yield Site(request.param, setup.port, trust)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def test_everything_gets_through_at_once_and_stays_open(site: Site) -> None:
    own = f"https://{site.authority}"
    with (
        site.web_socket("/ws?channel=alerts", origin=own) as native,
        site.web_socket("/raw/alerts", origin=own) as raw,
        site.request("GET", "/events?channel=alerts", Origin=own) as events,
        site.request("GET", "/stream?channel=alerts") as stream,
    ):
        assert json.loads(native.recv(PATIENCE))["type"] == "welcome"
        assert json.loads(native.recv(PATIENCE))["type"] == "subscribed"
        assert json.loads(stream.readline())["type"] == "subscribed"
        until_line(events, b"event: subscribed")

        def hear(text: str) -> None:
            assert json.loads(native.recv(PATIENCE))["message"] == text
            assert raw.recv(PATIENCE) == text
            while b'"keepalive"' in (line := stream.readline()):
                pass
            assert json.loads(line)["message"] == text
            data = until_line(events, b'data: {"type":"notification"')
            assert json.loads(data.removeprefix(b"data: "))["message"] == text

        site.publish("alerts", "now")
        hear("now")
        # Longer than the proxy lets a silent connection live; the streams are read meanwhile.
        idle = time.monotonic() + 6
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(keepalives, stream, idle)
            while time.monotonic() < idle:
                line = events.readline()
                assert line, "the events have ended"
                assert b'"notification"' not in line
            assert reading.result() >= 2
        site.publish("alerts", "later")
        hear("later")
        raw.send(b"\x00\xff" * 100_000)
        assert raw.recv(PATIENCE) == b"\x00\xff" * 100_000


def until_line(response: http.client.HTTPResponse, start: bytes) -> bytes:
    while not (line := response.readline()).startswith(start):
        assert line, "the stream has ended"
    return line


def keepalives(stream: http.client.HTTPResponse, end: float) -> int:
    count = 0
    while time.monotonic() < end:
        assert json.loads(stream.readline())["type"] == "keepalive"
        count += 1
    return count


def test_pages_of_others_are_still_kept_out(site: Site) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        site.web_socket("/ws?channel=alerts", origin="https://evil.example")
    own = f"https://{site.authority}"
    with site.request("GET", "/", Origin=own) as page:
        assert page.status == 200
        assert b"<html" in page.read()
    with site.request("GET", "/channels", Host="evil.example") as answer:
        assert answer.status in (200, 421)  # Caddy serves nothing under a name it does not know
        assert b"channels" not in answer.read()


def test_lines_are_answered_as_they_are_sent_where_the_proxy_can(site: Site) -> None:
    """Neither the request nor the answer is collected on the way; the page says that Caddy does."""
    end = b"0\r\n\r\n"
    with site.trust.wrap_socket(site.socket(), server_hostname=NAME) as connection:
        connection.sendall(
            f"POST /notify/alerts?answers=all HTTP/1.1\r\nHost: {site.authority}\r\n"
            "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        lines = [json.dumps({"message": f"line {n}"}).encode() + b"\n" for n in range(3)]
        chunks = [f"{len(line):x}\r\n".encode() + line + b"\r\n" for line in lines]
        if site.proxy == "caddy":
            # All at once: once the answer begins, it takes no more of the request.
            connection.sendall(b"".join(chunks) + end)
        else:
            for chunk in chunks:
                connection.sendall(chunk)
                assert b'"id"' in received_until(connection, b'"id"')
            connection.sendall(end)
        everything = received_until(connection, b'"stored"')
        assert everything.count(b'"id"') == (3 if site.proxy == "caddy" else 0)


def received_until(connection: ssl.SSLSocket, what: bytes) -> bytes:
    received = b""
    while what not in received:
        part = connection.recv(65536)
        assert part, received
        received += part
    return received
