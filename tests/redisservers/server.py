"""A real Redis of a test's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.redisservers.ports import free_port

# Far above what anything here takes on a slow machine: who waits longer waits for nothing.
PATIENCE = 60.0
# For localhost and 127.0.0.1, signed by itself, with its key.
CERTIFICATE = Path(__file__).parent.parent / "client" / "localhost.pem"
_TRIES = 5


class RedisServer:
    """``redis-server`` on a free port of 127.0.0.1 and a Unix socket, in a folder of its own.

    Use as a context manager. Nothing is written to disk unless an option says so; its methods
    block until what they promise is so.

    :param appendfsync: keep an append-only file, and write it ``always``, ``everysec`` or ``no``.
    :param tls: also listen with TLS, on :attr:`tls_port`.
    :param sentinel: be a Sentinel; the options are its configuration, which it rewrites.
    :param options: as in ``redis.conf``.
    """

    def __init__(
        self,
        *,
        appendfsync: str | None = None,
        tls: bool = False,
        sentinel: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.tls_port = 0
        self._tls = tls
        self._sentinel = sentinel
        self._options = {"bind": "127.0.0.1", "dir": ".", "daemonize": "no"}
        if not sentinel:
            self._options |= {"save": '""', "unixsocket": "redis.sock"}
        if appendfsync is not None:
            self._options |= {"appendonly": "yes", "appendfsync": appendfsync}
        self._options |= options or {}
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
            pytest.fail(
                "redis-server is missing; install it with: "
                "apt-get install --no-install-recommends redis-server"
            )
        # Short: the path of a Unix socket has 108 bytes (unix(7)), and pytest's folders are deep.
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        try:
            self._start_somewhere()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # pytest shows it with a test that failed.
        sys.stderr.write(f"--- Redis on port {self.port} ---\n{self.log[-4000:]}\n")
        self._end()

    @property
    def folder(self) -> Path:
        assert self._folder is not None, "use it as a context manager"
        return self._folder

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    @property
    def tls_url(self) -> str:
        """Its certificate is :data:`CERTIFICATE`."""
        assert self._tls
        return f"rediss://localhost:{self.tls_port}"

    @property
    def log(self) -> str:
        """What it has said so far, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cli(self, *arguments: str | int) -> str:
        """Ask it something with ``redis-cli``.

        :raises AssertionError: it answered with an error, or not at all.
        """
        return redis_cli("-p", self.port, *arguments)

    def kill(self) -> None:
        """As a power cut takes it: with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """As its package's service does: with SIGTERM, upon which it saves what it is to save."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Start again, on the same port and with the same files; killed first if it runs."""
        if self.running:
            self.kill()
        end = time.monotonic() + PATIENCE
        while not self._started():
            # Somebody has the port for the moment.
            assert time.monotonic() < end, f"Redis did not come back:\n{self.log[-8000:]}"
            time.sleep(0.05)

    def pause(self) -> None:
        """Let it do nothing at all, until :meth:`resume`; its kernel still takes bytes for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    # --- starting and ending ---

    def _start_somewhere(self) -> None:
        for _ in range(_TRIES):
            self.port = free_port()
            self.tls_port = free_port() if self._tls else 0
            if self._sentinel:
                self._write_configuration()
            if self._started():
                return
        raise AssertionError(f"Redis did not start:\n{self.log[-8000:]}")

    def _started(self) -> bool:
        """Start it, and wait until it answers; ``False`` if it ended instead."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", *self._arguments()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            if self._answers():
                return True
            assert time.monotonic() < end, f"Redis does not answer:\n{self.log[-8000:]}"
            time.sleep(0.01)
        return False

    def _answers(self) -> bool:
        # Only itself: another program may have the port for the moment.
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), "INFO"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert self._process is not None
        said = done.stdout.split()
        return f"process_id:{self._process.pid}" in said and "loading:1" not in said

    def _write_configuration(self) -> None:
        lines = [f"port {self.port}", *(f"{name} {text}" for name, text in self._options.items())]
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def _arguments(self) -> list[str]:
        if self._sentinel:
            return ["sentinel.conf", "--sentinel"]
        options = {**self._options, "port": str(self.port)}
        if self._tls:
            options |= {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(CERTIFICATE),
                "tls-key-file": str(CERTIFICATE),
                "tls-ca-cert-file": str(CERTIFICATE),
                "tls-auth-clients": "no",
            }
        lines = "\n".join(f"{name} {text}" for name, text in options.items())
        (self.folder / "redis.conf").write_text(lines + "\n")
        return ["redis.conf"]

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder)


def redis_cli(*arguments: str | int) -> str:
    """What ``redis-cli`` with these arguments says.

    :raises AssertionError: it failed, or the server answered with an error.
    """
    done = subprocess.run(
        ["redis-cli", "-e", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    assert done.returncode == 0, f"redis-cli {' '.join(map(str, arguments))}: {said}"
    return done.stdout.rstrip("\n")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that servers bring about between themselves."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"it did not come about: {what}"
        time.sleep(0.02)
