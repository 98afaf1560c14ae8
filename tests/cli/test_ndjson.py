from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.served import Service, Start, start, wait_until
from tests.processes import server_process

__all__ = ["start"]  # a fixture


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with server_process("--history-size", "10000") as process:
        yield Service(process.port)


def line(channel: str, message: object) -> str:
    return json.dumps({"channel": channel, "message": str(message)}) + "\n"


def stored(notifier: Run, service: Service, channel: str) -> list[str]:
    done = notifier("history", channel, "--json", "--url", service.url)
    return [json.loads(one)["message"] for one in done.stdout.splitlines()]


@pytest.mark.parametrize("arguments", [["--ndjson"], ["--ndjson", "-"], ["--ndjson", "f"]])
def test_lines_of_a_file_or_of_stdin_are_published(
    notifier: Run, service: Service, tmp_path: Path, arguments: list[str]
) -> None:
    channel = "many" + "".join(arguments).replace("-", "_")
    text = "".join(line(channel, number) for number in range(1200)).removesuffix("\n")
    (tmp_path / "f").write_text(text)
    stdin = None if "f" in arguments else text.encode()
    done = notifier("publish", *arguments, "--url", service.url, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "✓ 1200 stored  of 1200\n"
    assert stored(notifier, service, channel) == [str(number) for number in range(1200)]


def test_failures_are_told_with_their_lines(notifier: Run, service: Service) -> None:
    text = line("a", 1) * 700 + "\nno JSON\n" + line("a b", 1) + line("a", 2)
    done = notifier("publish", "--ndjson", "--url", service.url, stdin=text.encode())
    assert done.returncode == 1
    assert done.stdout == "✗ 701 stored, 2 failed  of 703\n"
    first, second = done.stderr.splitlines()
    assert first.startswith("line 702: This is not JSON: ") and " at line 702, column 2." in first
    assert first.endswith("  code 40001")
    assert second.startswith("line 703: 'a b' is not a channel name")
    done = notifier("publish", "--ndjson", "--json", "--url", service.url, stdin=text.encode())
    summary = json.loads(done.stdout)
    assert (summary["lines"], summary["stored"], summary["failed"]) == (703, 701, 2)
    assert [(one["line"], one["error"]["code"]) for one in summary["failures"]] == [
        (702, 40001),
        (703, 40004),
    ]


def test_only_the_first_failures_are_shown(notifier: Run, service: Service) -> None:
    done = notifier("publish", "--ndjson", "--url", service.url, stdin=b"x\n" * 150)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 21
    assert done.stderr.endswith("\n  and 130 more\n")


def test_lines_of_a_pipe_are_published_as_they_come(
    start: Start, service: Service, notifier: Run
) -> None:
    reader, writer = os.pipe()
    with start("publish", "--ndjson", "--url", service.url, stdin=reader) as running:
        os.close(reader)
        for number in range(3):
            os.write(writer, line("trickle", number).encode())
            wait_until(lambda n=number: len(stored(notifier, service, "trickle")) == n + 1)  # type: ignore[misc]
        # Without an end of its own, the last line is one as well.
        os.write(writer, line("trickle", 3).encode()[:-1])
        os.close(writer)
        assert running.ended() == 0
        assert running.out == "✓ 4 stored  of 4\n"


def test_interrupt_tells_what_was_stored(start: Start, service: Service, notifier: Run) -> None:
    reader, writer = os.pipe()
    with start("publish", "--ndjson", "--url", service.url, stdin=reader) as running:
        os.write(writer, line("stopped", 1).encode())
        wait_until(lambda: len(stored(notifier, service, "stopped")) == 1)
        assert running.stop(signal.SIGINT) == 130
        assert running.out == "✓ 1 stored  of 1\n"
    os.close(reader)
    os.close(writer)


def test_terminal_sees_how_it_goes(start: Start, service: Service, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(line("bar", "m") * 8000 + "x\n")
    with start("publish", "--ndjson", "f", "--url", service.url, terminal=True) as running:
        assert running.ended() == 1
        assert "━" in running.out
        assert " lines " in running.out and "/s" in running.out
        assert "8000 stored" in running.out and "1 failed" in running.out


def test_no_server_exits_3(notifier: Run) -> None:
    text = line("a", 1).encode()
    done = notifier("publish", "--ndjson", "--url", "http://127.0.0.1:1", stdin=text)
    assert done.returncode == 3
    assert done.stderr == "error: cannot reach http://127.0.0.1:1: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["alerts", "--ndjson", "-"], "publishes what the lines say"),
        (["--ndjson", "-", "--title", "T"], "publishes what the lines say"),
        (["--ndjson", "nowhere"], "nowhere: No such file or directory"),
    ],
)
def test_wrong_command_line_exits_2(notifier: Run, arguments: list[str], sentence: str) -> None:
    done = notifier("publish", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_folder_is_no_file(notifier: Run, service: Service) -> None:
    done = notifier("publish", "--ndjson", ".", "--url", service.url)
    assert done.returncode == 1
    assert "can't be read" in done.stderr and "Is a directory" in done.stderr
