"""``--tls-cert`` and ``--tls-key``, and the commands that ask such a server."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.certificates import Pair, certificate
from tests.cli.conftest import Run
from tests.processes import Process, server_process
from tests.redisservers.server import RedisServer

PATIENCE = 60.0


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate(tmp_path)


@pytest.fixture
def server(pair: Pair) -> Iterator[Process]:
    with server_process(*pair.flags) as process:
        yield process


def url(server: Process) -> str:
    return f"https://localhost:{server.port}"


def shown(port: int) -> str:
    """The certificate that a new connection is shown, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE)


def until_shown(port: int, pair: Pair) -> None:
    end = time.monotonic() + PATIENCE
    while shown(port).split() != pair.cert.read_text().split():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "command",
    [
        ["publish", "alerts", "hello"],
        ["history", "alerts"],
        ["bench", "--sockets", "2", "--seconds", "1"],
    ],
)
def test_commands_ask_over_https_whom_they_are_told_to_trust(
    notifier: Run, server: Process, pair: Pair, command: list[str]
) -> None:
    asked = [*command, "--url", url(server)]
    assert notifier("publish", "alerts", "m", "--url", url(server)).returncode != 0, "not trusted"
    seed = notifier("publish", "alerts", "m", "--url", url(server), "--ca-file", str(pair.cert))
    assert seed.returncode == 0, seed.stderr
    done = notifier(*asked, "--ca-file", str(pair.cert))
    assert done.returncode == 0, done.stderr
    done = notifier(*asked, variables={"SSL_CERT_FILE": str(pair.cert)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "reason"), [("gone.pem", "can't be read: No such file"), ("text", "no certificate in")]
)
def test_a_ca_file_that_cannot_be_used_is_a_mistake_on_the_command_line(
    notifier: Run, tmp_path: Path, file: str, reason: str
) -> None:
    (tmp_path / "text").write_text("hello")
    done = notifier("publish", "alerts", "m", "--ca-file", file)
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())


def test_it_does_not_start_with_files_that_do_not_fit(
    notifier: Run, pair: Pair, tmp_path: Path
) -> None:
    other = certificate(tmp_path, "other")
    done = notifier("serve", "--port", "0", *Pair(pair.cert, other.key).flags)
    assert done.returncode == 1
    assert "this is not the key of the certificate" in " ".join(done.stderr.split())


def test_hangup_brings_the_new_certificate(server: Process, pair: Pair, tmp_path: Path) -> None:
    until_shown(server.port, pair)
    pair.put(certificate(tmp_path, "other"))
    server.signal(signal.SIGHUP)
    until_shown(server.port, pair)
    assert server.running


def test_hangup_brings_it_to_every_worker(pair: Pair, tmp_path: Path) -> None:
    with (
        RedisServer() as redis,
        server_process(*pair.flags, "--workers", "2", "--broker", redis.url) as server,
    ):
        end = time.monotonic() + PATIENCE
        while "supervisor.ready" not in server.log:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert "https://" in server.log
        before = server.log.count("tls.loaded")
        pair.put(certificate(tmp_path, "other"))
        server.signal(signal.SIGHUP)
        while server.log.count("tls.loaded") < before + 2:
            assert time.monotonic() < end
            time.sleep(0.02)
        # Whichever worker answers.
        for _ in range(10):
            assert shown(server.port).split() == pair.cert.read_text().split()


def test_strangers_fill_no_log(server: Process) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not plain.recv(4096).startswith(b"HTTP/")
    assert shown(server.port)
    assert "SSL" not in server.log
