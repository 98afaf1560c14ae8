"""The Python programs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.examples.programs import EXAMPLES, Program, environment, notify
from tests.processes import Process, server_process


def test_listener_comes_back_where_it_was(tmp_path: Path) -> None:
    database = ("--broker", f"sqlite:{tmp_path / 'notifier.db'}", "--drain-seconds", "0.1")
    with server_process(*database) as first:
        port = first.port
        program = Program(
            sys.executable,
            EXAMPLES / "python_listener.py",
            "alerts",
            f"ws://localhost:{port}",
            cwd=tmp_path,
        )
        with program:
            assert program.line() == "-- listening"
            notify(port, "alerts", title="db1", message="Disk full é")
            assert program.line() == "db1 Disk full é"
            first.signal(signal.SIGKILL)
            assert program.line().startswith("-- lost")
            with server_process(*database, "--port", str(port)):
                notify(port, "alerts", message="while you were away")
                lines = [program.line()]
                while lines[-1].startswith("-- "):
                    lines.append(program.line())
                assert lines[-1] == " while you were away"
                assert not any("missed" in line for line in lines)


def test_listener_ends_when_it_is_refused(server: Process, tmp_path: Path) -> None:
    url = f"ws://localhost:{server.port}"
    listener = EXAMPLES / "python_listener.py"
    with Program(sys.executable, listener, "a:", url, cwd=tmp_path) as program:
        assert "is not a channel name" in program.note("'a:'")
        assert program.exit_code() == 1


def test_client_publishes_and_follows(server: Process, tmp_path: Path) -> None:
    notify(server.port, "builds:1", title="main", message="passed")
    arguments = (EXAMPLES / "python_client.py", "builds:*", "-5", f"http://localhost:{server.port}")
    env = environment(server.port)
    with Program(sys.executable, *arguments, cwd=tmp_path, env=env) as program:
        assert program.line().startswith("published ")
        assert program.line() == "builds:1 main passed"
        notify(server.port, "builds:2", message="began")
        assert program.line() == "builds:2  began"
