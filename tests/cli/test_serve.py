from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.served import PATIENCE


class Serving:
    """A running `notifier serve`; ``lines`` are those of its log up to the listening one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)
            if "server.listening" in line:
                return
        pytest.fail("it did not start:\n" + "".join(self.lines))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send the signal; what was logged from then on. It must exit 0."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, rest
        return rest


Serve = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def serve(tmp_path: Path, environment: dict[str, str]) -> Serve:
    @contextmanager
    def serve(*arguments: str, **variables: str) -> Iterator[Serving]:
        command = [sys.executable, "-m", "notifier", "serve", "--port", "0", *arguments]
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Serving(process)
            finally:
                process.kill()

    return serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_listens_and_exits_0_when_told(serve: Serve, number: signal.Signals) -> None:
    with serve("--drain-seconds", "0") as running:
        assert re.search(r"INFO  server\.listening url=http://127\.0\.0\.1:\d+$", running.lines[-1])
        assert "Traceback" not in running.stop(number)


def test_published_notification_is_taken(serve: Serve, notifier: Run) -> None:
    with serve("--drain-seconds", "0") as running:
        url = running.lines[-1].split("url=")[1].strip()
        done = notifier("publish", "alerts", "hello", "--url", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"✓ alerts at \w+:1, 0 subscribers here  id \S+\n", done.stdout)
        refused = notifier("publish", "no way", "hello", "--url", url)
        assert refused.returncode == 1
        assert re.search(r"code 40004, field channel\n  \S+#40004\n$", refused.stderr)
        running.stop()


def test_json_log_is_json_from_the_first_line_to_the_last(serve: Serve) -> None:
    with serve("--log-format", "json", "--drain-seconds", "0") as running:
        lines = "".join(running.lines) + running.stop()
    events = [json.loads(line)["event"] for line in lines.splitlines()]
    assert events[0] == "server.listening"


def test_file_and_unknown_variable_are_told_in_the_log(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "notifier.toml").write_text("drain_seconds = 0")
    with serve(NOTIFIER_PROT="1") as running:
        log = "".join(running.lines)
        assert "INFO  config.read file=notifier.toml\n" in log
        assert "WARN  config.unknown_variable variable=NOTIFIER_PROT nearest=NOTIFIER_PORT\n" in log
        running.stop()


def test_port_in_use_is_told_in_one_line(notifier: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = notifier("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: cannot serve on 127.0.0.1:{port}: Address already in use\n"


def test_address_that_is_not_ours_is_told_in_one_line(notifier: Run) -> None:
    done = notifier("serve", "--host", "192.0.2.1")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: cannot serve on 192\.0\.2\.1:8888: Cannot assign .*\n", done.stderr
    )


def test_broker_that_cannot_be_opened_is_told_in_one_line(notifier: Run, tmp_path: Path) -> None:
    done = notifier("serve", "--port", "0", "--broker", "sqlite:missing/notifier.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: cannot use {tmp_path}/missing/notifier.db as a broker: "
        f"there is no directory {tmp_path}/missing\n"
    )


def test_greeting_is_for_terminals_alone(serve: Serve) -> None:
    with serve() as serving:
        assert "curl" not in "".join(serving.lines) + serving.stop()


def test_terminal_is_told_what_to_do_next(environment: dict[str, str], tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "notifier", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=follower) as process:
        os.close(follower)
        said = b""
        while b"Ctrl-C" not in said:
            said += os.read(leader, 4096)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    os.close(leader)
    assert re.search(rb"Open.*http://127\.0\.0\.1:\d+", said) and b"curl -d" in said


def test_too_few_open_files_are_told(serve: Serve) -> None:
    with serve("--max-connections", "1000000000") as serving:
        assert any("server.few_files" in line for line in serving.lines)
