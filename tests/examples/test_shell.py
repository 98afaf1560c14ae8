"""The shell scripts."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.examples.programs import (
    EXAMPLES,
    PATIENCE,
    Program,
    environment,
    history,
    notifier_command,
    notify,
    required,
    until,
)
from tests.processes import Process, server_process


@pytest.fixture(autouse=True)
def curl() -> None:
    required("curl", "curl")


def run(name: str, *arguments: str, port: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EXAMPLES / name, *arguments],
        cwd=cwd,
        env=environment(port),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def messages(lines: str) -> list[str]:
    return [json.loads(line)["message"] for line in lines.splitlines()]


# --- publish.sh ---


def test_publish_sends_text_headers_and_files(server: Process, tmp_path: Path) -> None:
    done = run("publish.sh", "texts", "Disk full on db1", port=server.port, cwd=tmp_path)
    assert json.loads(done.stdout)["channel"] == "texts"
    high = ("-H", "Priority: high", "-H", "Tags: disk,db")
    run("publish.sh", "texts", "Disk full on db2", *high, port=server.port, cwd=tmp_path)
    first, second = history(server.port, "texts")
    assert first["message"] == "Disk full on db1"
    assert (second["priority"], second["tags"]) == (4, ["disk", "db"])
    (tmp_path / "graph.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    png = ("-H", "Content-Type: image/png")
    run("publish.sh", "graphs", "@graph.png", *png, port=server.port, cwd=tmp_path)
    (graph,) = history(server.port, "graphs")
    assert (graph["content_type"], graph["data_base64"]) == ("image/png", "iVBORw0KGgoA")


def test_publish_waits_for_a_server_that_is_starting(tmp_path: Path) -> None:
    with server_process() as gone:
        port = gone.port
    with Program(
        EXAMPLES / "publish.sh", "late", "still here", cwd=tmp_path, env=environment(port)
    ) as program:
        with server_process("--port", str(port)):
            assert json.loads(program.line())["channel"] == "late"
            assert program.exit_code() == 0
            assert [n["message"] for n in history(port, "late")] == ["still here"]


def test_publish_says_what_was_wrong(server: Process, tmp_path: Path) -> None:
    done = run("publish.sh", "a*", "to a pattern", port=server.port, cwd=tmp_path)
    assert done.returncode != 0
    assert json.loads(done.stdout)["error"]["code"] == 40004


# --- listen.sh ---


def test_listening_once_gives_what_is_new_each_time(server: Process, tmp_path: Path) -> None:
    for text in ("one", "two"):
        notify(server.port, "once", message=text)
    done = run("listen.sh", "--once", "once", port=server.port, cwd=tmp_path)
    assert (messages(done.stdout), done.returncode) == (["one", "two"], 0)
    done = run("listen.sh", "--once", "once", port=server.port, cwd=tmp_path)
    assert done.stdout == ""
    notify(server.port, "once", message="three")
    done = run("listen.sh", "--once", "once", port=server.port, cwd=tmp_path)
    assert messages(done.stdout) == ["three"]
    assert (tmp_path / "once.since").read_text().endswith(":3\n")


def test_listening_goes_on_where_it_stopped(server: Process, tmp_path: Path) -> None:
    (tmp_path / "live.since").write_text("-5\n")
    env = environment(server.port)
    notify(server.port, "live", message="before")
    with Program(EXAMPLES / "listen.sh", "live", cwd=tmp_path, env=env) as program:
        assert messages(program.line()) == ["before"]
        # This text must not be taken for a position.
        notify(server.port, "live", message='","position":"x:9"', data={"position": "y:9"})
        assert messages(program.line()) == ['","position":"x:9"']
    notify(server.port, "live", message="meanwhile")
    with Program(EXAMPLES / "listen.sh", "live", cwd=tmp_path, env=env) as program:
        assert messages(program.line()) in (["meanwhile"], ['","position":"x:9"'])
        notify(server.port, "live", message="now")
        seen = [program.line()]
        while messages(seen[-1]) != ["now"]:
            seen.append(program.line())


def test_listening_comes_back_and_tells_what_is_lost(tmp_path: Path) -> None:
    with server_process("--drain-seconds", "0.1") as first:
        port = first.port
        notify(port, "lost", message="one")
        program = Program(EXAMPLES / "listen.sh", "lost", cwd=tmp_path, env=environment(port))
        with program:
            until((tmp_path / "lost.since").exists, program)
            notify(port, "lost", message="two")
            assert messages(program.line()) == ["two"]
            first.signal(signal.SIGTERM)
            program.note("curl:")
            # Its history was in memory: a new log begins.
            with server_process("--port", str(port)):
                assert json.loads(program.note('{"type":"subscribed"'))["recovered"] is False
                notify(port, "lost", message="three")
                assert messages(program.line()) == ["three"]


@pytest.mark.parametrize("once", [True, False])
def test_listening_ends_when_it_is_refused(server: Process, tmp_path: Path, once: bool) -> None:
    arguments = ("--once", "a:") if once else ("a:",)
    done = run("listen.sh", *arguments, port=server.port, cwd=tmp_path)
    assert done.returncode == 64
    assert '"code":40004' in done.stderr


# --- react.sh ---


def test_reaction_runs_for_each_and_goes_on_where_it_stopped(
    server: Process, tmp_path: Path
) -> None:
    env = environment(server.port, commands=notifier_command(tmp_path / "bin"))
    log = tmp_path / "urgent.log"

    def react(*texts: tuple[str, int]) -> list[str]:
        with Program(EXAMPLES / "react.sh", "react:*", cwd=tmp_path, env=env) as program:
            for text, priority in texts:
                notify(server.port, "react:db", title="db1", message=text, priority=priority)
            until(lambda: log.exists() and texts[-1][0] in log.read_text(), program)
        return [line.partition(" ")[2] for line in log.read_text().splitlines()]

    # The state is there from the moment it listens.
    with Program(EXAMPLES / "react.sh", "react:*", cwd=tmp_path, env=env) as program:
        until((tmp_path / "react.state").exists, program)
    assert react(("it's full; $(rm -rf /)", 5), ("fine", 2), ("hot", 4)) == [
        "react:db db1 it's full; $(rm -rf /)",
        "react:db db1 hot",
    ]
    notify(server.port, "react:db", title="db2", message="while away", priority=5)
    assert react(("again", 4))[-2:] == ["react:db db2 while away", "react:db db1 again"]
