from __future__ import annotations

import contextlib
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
from threading import Timer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.auth.signing import SECRET
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
        # Not by communicate(), which knows nothing of lines that were read ahead.
        assert self.process.stderr is not None
        impatience = Timer(PATIENCE, self.process.kill)
        impatience.start()
        rest = self.process.stderr.read()
        self.process.wait()
        impatience.cancel()
        assert self.process.returncode == 0, rest
        return rest


Serve = Callable[..., AbstractContextManager[Serving]]

# Redis is not there; a node serves nevertheless, and says what is wrong when it is asked.
TWO = ("--workers", "2", "--broker", "redis://127.0.0.1:1", "--drain-seconds", "0")


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
    assert events[:2] == ["server.listening", "server.open"]


def test_file_and_unknown_variable_are_told_in_the_log(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "notifier.toml").write_text("drain_seconds = 0")
    with serve(NOTIFIER_PROT="1") as running:
        log = "".join(running.lines)
        assert "INFO  config.read file=notifier.toml\n" in log
        assert "WARN  config.unknown_variable variable=NOTIFIER_PROT nearest=NOTIFIER_PORT\n" in log
        running.stop()


@pytest.mark.parametrize(
    ("line", "mode", "warned"),
    [
        (f'token_secret = "{SECRET}"', 0o644, True),
        (f'token_secret = "{SECRET}"', 0o640, False),
        ("max_channels = 9", 0o644, False),
    ],
)
def test_secrets_that_others_may_read_are_warned_of(
    serve: Serve, tmp_path: Path, line: str, mode: int, warned: bool
) -> None:
    file = tmp_path / "notifier.toml"
    file.write_text(f"drain_seconds = 0\n{line}\n")
    file.chmod(mode)
    with serve() as running:
        log = "".join(running.lines)
        running.stop()
    told = 'WARN  config.read_by_others file=notifier.toml secrets=token_secret hint="chmod o= '
    assert (told in log) is warned
    assert SECRET not in log


@pytest.mark.parametrize("workers", [(), TWO])
def test_it_tells_what_it_runs_with_as_config_show_does(
    notifier: Run, serve: Serve, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    (tmp_path / "notifier.toml").write_text("max_channels = 77")
    more = ("--ping-interval", "9s", *workers)
    secret = {"NOTIFIER_TOKEN_SECRET": SECRET, "NOTIFIER_WHO_MAY_PUBLISH": "public"}
    keys = tmp_path / "keys.toml"
    made = notifier("key", "create", "ops", "--scope", "admin", "--keys-file", str(keys))
    key = re.search(r"nk_\S+", made.stdout)
    assert key is not None, made
    more += ("--keys-file", str(keys))
    with serve(*more, **secret) as running:
        url = re.search(r"url=(\S+)", running.lines[-1])
        assert url is not None
        ask = Request(f"{url[1]}/settings", headers={"X-API-Key": key[0]})
        with urlopen(ask, timeout=PATIENCE) as answer:
            told = json.load(answer)
        running.stop()
    shown = notifier("config", "show", "--format", "json", "--port", "0", *more, variables=secret)
    expected = json.loads(shown.stdout)
    assert told["token_secret"] == {
        "value": "***",
        "from": "environment",
        "name": "NOTIFIER_TOKEN_SECRET",
    }
    assert told["max_channels"]["from"] == "file"
    if workers:  # they share one that was found for them
        assert told.pop("port")["value"] != expected.pop("port")["value"]
    assert told == expected


def test_port_in_use_is_told_in_one_line(notifier: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = notifier("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: cannot serve on 127.0.0.1:{port}: Address already in use\n"


def test_address_that_is_not_ours_is_told_in_one_line(notifier: Run) -> None:
    done = notifier("serve", "--host", "192.0.2.1", "--insecure")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: cannot serve on 192\.0\.2\.1:8888: Cannot assign .*\n", done.stderr
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [("host", host) for host in ("0.0.0.0", "::", "192.0.2.1", "push.example.org")]
    # On loopback, and reached through a proxy.
    + [("allowed_hosts", "push.example.org"), ("allowed_hosts", "*")]
    + [("trusted_proxies", "127.0.0.1")],
)
def test_it_is_not_open_to_a_network_by_accident(notifier: Run, setting: str, value: str) -> None:
    done = notifier("serve", f"--{setting.replace('_', '-')}", value, "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    for word in ("--insecure", "notifier key create", "token_secret", value):
        assert word in done.stderr


@pytest.mark.parametrize(
    ("flags", "level", "told"),
    [
        ([], "info", "from this machine alone"),
        (["--host", "0.0.0.0", "--insecure"], "warning", "on 0.0.0.0"),
        (["--allowed-hosts", "a.example", "--insecure"], "warning", "with allowed_hosts a.example"),
        (["--token-secret", SECRET, "--host", "0.0.0.0"], None, None),
    ],
)
def test_the_log_says_whom_nobody_is_asked_lets_in(
    serve: Serve, flags: list[str], level: str | None, told: str | None
) -> None:
    with serve("--log-format", "json", "--drain-seconds", "0", *flags) as running:
        lines = "".join(running.lines) + running.stop()
    events = [json.loads(line) for line in lines.splitlines()]
    open_to = [(event["level"], event["reached"]) for event in events if "reached" in event]
    assert open_to == ([(level, told)] if told else [])


def test_with_keys_it_may_be_reached(serve: Serve, notifier: Run, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.toml")
    made = notifier("key", "create", "ci", "--scope", "publish", "--channel", "*",
                    "--keys-file", keys)  # fmt: skip
    assert made.returncode == 0, made.stderr
    with serve("--host", "0.0.0.0", "--keys-file", keys) as running:
        port = running.lines[-1].rpartition(":")[2].strip()
        url = f"http://127.0.0.1:{port}/notify/alerts"
        with pytest.raises(HTTPError, match="401"):
            urlopen(Request(url, b"hi"), timeout=20)
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        with urlopen(Request(url, b"hi", headers), timeout=20) as answer:
            assert answer.status == 200


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


def test_workers_share_a_port_and_each_line_says_whose_it_is(serve: Serve) -> None:
    with serve(*TWO, "--log-format", "json") as running:
        assert running.process.stderr is not None
        while "supervisor.ready" not in running.lines[-1]:
            running.lines.append(next(running.process.stderr))
        lines = "".join(running.lines) + running.stop()
    events = [json.loads(line) for line in lines.splitlines()]
    listening = [event for event in events if event["event"] == "server.listening"]
    assert sorted(event["worker"] for event in listening) == [1, 2]
    (ready,) = [event for event in events if event["event"] == "supervisor.ready"]
    assert {event["url"] for event in listening} == {ready["url"]}
    assert "worker" not in ready
    stopped = [event["worker"] for event in events if event["event"] == "server.stopped"]
    assert sorted(stopped) == [1, 2]


def test_terminal_is_greeted_once_whatever_the_workers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "notifier", "serve", "--port", "0", *TWO]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=follower) as process:
        os.close(follower)
        said = b""
        while b"Ctrl-C" not in said:
            said += os.read(leader, 4096)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # a terminal that nobody holds open any more
            while data := os.read(leader, 4096):
                said += data
        assert process.wait(20) == 0
    os.close(leader)
    assert said.count(b"curl -d") == 1


def test_one_worker_has_no_supervisor(serve: Serve) -> None:
    with serve("--workers", "1") as running:
        assert "worker" not in "".join(running.lines)
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        assert children.read_text() == ""
        running.stop()


@pytest.mark.parametrize("broker", ["memory:", "sqlite:notifier.db"])
@pytest.mark.parametrize("workers", ["2", "auto"])
def test_workers_on_a_broker_of_one_process_are_refused(
    notifier: Run, tmp_path: Path, broker: str, workers: str
) -> None:
    done = notifier("serve", "--workers", workers, "--broker", broker)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --workers {workers}: workers need a broker they can share, such as redis://HOST; "
        f"{broker.split(':')[0]}: lives in one process\n"
    )
    (tmp_path / "bad.toml").write_text(f'broker = "{broker}"\nworkers = "{workers}"')
    checked = notifier("config", "check", "bad.toml")
    assert checked.returncode == 2
    assert f'workers = "{workers}" in bad.toml: workers need a broker' in checked.stderr


def test_port_that_others_have_is_told_in_one_line_though_workers_could_share_it(
    serve: Serve, notifier: Run
) -> None:
    with serve(*TWO) as running:
        port = running.lines[-1].rpartition(":")[2].strip()
        done = notifier("serve", *TWO, "--port", port)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: cannot serve on 127.0.0.1:{port}: Address already in use\n"
        running.stop()


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_workers_listen_on_any_kind_of_address(serve: Serve, host: str) -> None:
    with serve(*TWO, "--host", host, "--insecure") as running:
        port = running.lines[-1].rpartition(":")[2].strip()
        with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=20) as answer:
            assert answer.status == 200
        running.stop()


def test_workers_that_cannot_start_are_told_of_in_one_sentence(notifier: Run) -> None:
    broker = "rediss://127.0.0.1:1?ssl_ca_certs=missing.pem"
    done = notifier("serve", "--port", "0", "--workers", "2", "--broker", broker)
    assert done.returncode == 1
    *log, sentence = done.stderr.splitlines()
    assert sentence == "error: TLS to Redis: [Errno 2] No such file or directory"
    assert [line.split()[2] for line in log].count("worker.started") == 2
    assert not any("Traceback" in line for line in log)
