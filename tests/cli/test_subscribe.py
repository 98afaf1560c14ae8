from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.served import PATIENCE, Service, Start, start, wait_until
from tests.faults import FaultProxy
from tests.processes import server_process

__all__ = ["start"]  # a fixture


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    spaces = '{"short": {"history_size": 3}}'
    with server_process("--namespaces", spaces) as process:
        yield Service(process.port)


# --- what it prints ---


def test_notification_is_shown_as_it_comes(start: Start, service: Service) -> None:
    with start("subscribe", "shown", "--url", service.url) as running:
        service.wait_for_subscriber("shown")
        service.publish("shown", "Disk full", title="db1", priority=5, tags=["disk", "db"])
        service.publish("shown", "one\ntwo", click="https://example.org")
        running.until(lambda running: "example.org" in running.out)
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d  shown  !! db1  Disk full  #disk  #db\n"
            r"\d\d:\d\d:\d\d  shown  one\n    two\n    → https://example.org\n",
            running.out,
        )
        assert running.stop() == 130
        assert running.err == ""


def test_other_kinds_of_content_are_summarised(notifier: Run, service: Service) -> None:
    picture = base64.b64encode(bytes(2500)).decode()
    service.publish("kinds", "", title="T", content_type="image/png", data_base64=picture)
    service.publish("kinds", "", data={"free": [0], "long": "x" * 500})
    service.publish("kinds", "evil \x1b[2J\u202e", title="\x07")
    done = notifier("subscribe", "kinds", "--since", "all", "--count", "3", "--url", service.url)
    assert "T\n    [image/png, 2.5 kB]\n" in done.stdout
    assert '  {"free": [0], "long": "xxx' in done.stdout and "x…\n" in done.stdout
    assert "\\x07  evil \\x1b[2J\\u202e\n" in done.stdout
    assert done.returncode == 0


def test_terminal_gets_colours_and_is_told_what_goes_on(start: Start, service: Service) -> None:
    with start("subscribe", "coloured", "--url", service.url, terminal=True) as running:
        running.until(lambda running: "listening to coloured on http" in running.out)
        service.publish("coloured", "Disk full", priority=5)
        running.until(lambda running: "Disk full" in running.out)
        assert "\x1b[36mcoloured\x1b[0m" in running.out
        assert "\x1b[1;31m!! \x1b[0m" in running.out
        assert running.stop() == 130


def test_json_is_one_object_per_line(notifier: Run, service: Service) -> None:
    for number in range(3):
        service.publish("json", f"{number} é", title="T")
    arguments = ("--since", "-2", "--count", "2", "--json", "--url", service.url)
    done = notifier("subscribe", "json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["message"] for line in lines] == ["1 é", "2 é"]
    assert {line["type"] for line in lines} == {"notification"}


def test_gap_is_told_on_stderr_and_to_programs_in_its_place(
    notifier: Run, service: Service
) -> None:
    for number in range(6):
        last = service.publish("short:gap", str(number))
    epoch = last["position"].partition(":")[0]
    arguments = ("--since", f"{epoch}:1", "--count", "3", "--url", service.url)
    done = notifier("subscribe", "short:gap", *arguments)
    sentence = f"what lies between {epoch}:1 and {epoch}:4 was missed"
    assert done.stderr == f"gap in short:gap: {sentence}\n"
    assert len(done.stdout.splitlines()) == 3
    done = notifier("subscribe", "short:gap", *arguments, "--json")
    types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert types == ["gap", "notification", "notification", "notification"]


def test_patterns_are_followed(start: Start, service: Service) -> None:
    with start("subscribe", "pattern:*", "other", "--json", "--url", service.url) as running:
        service.wait_for_subscriber("other")
        service.publish("pattern:born", "m")
        running.until(lambda running: len(running.lines()) == 1)
        assert running.stop() == 130


# --- ends ---


def test_signals_end_it_as_shells_expect(start: Start, service: Service) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        channel = f"signal{code}"
        with start("subscribe", channel, "--url", service.url) as running:
            service.wait_for_subscriber(channel)
            assert running.stop(number) == code
            assert (running.out, running.err) == ("", "")


def test_interrupt_ends_it_though_nobody_reads(start: Start, service: Service) -> None:
    for _ in range(5):
        service.publish("stuck", "x" * 100_000)
    with start("subscribe", "stuck", "--since", "all", "--url", service.url) as running:
        service.wait_for_subscriber("stuck")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 130


def test_closed_pipe_ends_it_quietly(
    service: Service, environment: dict[str, str], tmp_path: Path
) -> None:
    """At once, and not only when there is something to print again."""
    service.publish("pipe", "first")
    command = [sys.executable, "-m", "notifier", "subscribe", "pipe", "--since", "all"]
    with subprocess.Popen(
        [*command, "--url", service.url],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().endswith(b"first\n")
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""


def test_refusal_is_told(notifier: Run, service: Service) -> None:
    done = notifier("subscribe", "a b", "--url", service.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "code 40004, field channel" in done.stderr
    done = notifier("subscribe", "a", "--since", "yesterday", "--url", service.url)
    assert done.returncode == 1 and "code 40005" in done.stderr


def test_lost_connection_is_told_and_made_again(start: Start, service: Service) -> None:
    with FaultProxy(service.port) as proxy:
        with start("subscribe", "lost", "--url", proxy.url) as running:
            service.wait_for_subscriber("lost")
            service.publish("lost", "before")
            running.until(lambda running: "before" in running.out)  # it knows that it is there
            proxy.cut()
            service.publish("lost", "meanwhile")
            running.until(lambda running: "connected again" in running.err)
            assert "waiting: the connection was lost; again in" in running.err
            running.until(lambda running: "meanwhile" in running.out)
            assert running.stop() == 130
        with start("subscribe", "once", "--url", proxy.url, "--no-reconnect") as running:
            service.wait_for_subscriber("once")
            service.publish("once", "before")
            running.until(lambda running: "before" in running.out)
            proxy.cut()
            assert running.ended() == 3
            assert running.err == "error: the connection was lost\n"


def test_no_server_is_waited_for_or_told(notifier: Run, start: Start) -> None:
    url = "http://127.0.0.1:1"
    done = notifier("subscribe", "a", "--no-reconnect", "--url", url)
    assert done.returncode == 3
    assert done.stderr == f"error: cannot reach {url}: Connection refused\n"
    with start("subscribe", "a", "--url", url) as running:
        running.until(lambda running: running.err.count("waiting:") > 1)
        assert running.stop() == 130


@pytest.mark.parametrize(
    "arguments", [[], ["a", "--count", "0"], ["a", "--url", "h:1"], ["a", "--state", "/"]]
)
def test_wrong_command_line_exits_2(notifier: Run, arguments: list[str]) -> None:
    assert notifier("subscribe", *arguments).returncode == 2


# --- a command for each ---


def test_command_gets_the_fields_and_the_whole(
    notifier: Run, service: Service, tmp_path: Path
) -> None:
    service.publish(
        "exec", "Disk full", title="d'b\0", priority=4, tags=["a", "b"], data={"n": 1}, key="k"
    )
    service.publish("exec", "plain")
    script = (
        'printf "%s|" "$NOTIFIER_CHANNEL" "$NOTIFIER_TITLE" "$NOTIFIER_MESSAGE" '
        '"$NOTIFIER_PRIORITY" "$NOTIFIER_TAGS" "$NOTIFIER_DATA" "$NOTIFIER_KEY"; '
        "echo; cat >> all.ndjson"
    )
    done = notifier(
        *("subscribe", "exec", "--since", "all", "--count", "2", "--exec", script),
        *("--url", service.url),
        variables={"NOTIFIER_TITLE": "of another"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ['exec|d\'b|Disk full|4|a,b|{"n": 1}|k|', "exec||plain|||||"]
    whole = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    assert [one["message"] for one in whole] == ["Disk full", "plain"]
    assert whole[0]["title"] == "d'b\0"


def test_failing_command_is_told_and_the_next_one_run(notifier: Run, service: Service) -> None:
    for number in range(3):
        service.publish("failing", str(number))
    script = 'test "$NOTIFIER_MESSAGE" = 2 && kill -9 $$; exit $NOTIFIER_MESSAGE'
    done = notifier(
        *("subscribe", "failing", "--since", "all", "--count", "3", "--exec", script),
        *("--url", service.url),
    )
    assert done.returncode == 0
    one, two = done.stderr.splitlines()
    assert re.fullmatch(r"exec: exit code 1 for failing \w+:2", one)
    assert re.fullmatch(r"exec: signal 9 for failing \w+:3", two)


def test_command_that_reads_nothing_and_huge_fields_do_no_harm(
    notifier: Run, service: Service
) -> None:
    service.publish("huge", "é" * 150_000)
    script = 'test ${#NOTIFIER_MESSAGE} -ge 50000 && echo "cut"'
    done = notifier(
        *("subscribe", "huge", "--since", "all", "--count", "1", "--exec", script),
        *("--url", service.url),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "cut\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_of_a_command_ends_with_us(
    start: Start, service: Service, tmp_path: Path, number: signal.Signals
) -> None:
    """Not only its shell: what that waits for as well."""
    service.publish("steps", "m")
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # The pipe is at its end when the last that has it open has ended.
    script = "exec 3> alive; (echo begun >&3; sleep 90; echo late >&3); echo later >&3"
    arguments = ("subscribe", "steps", "--since", "all", "--exec", script)
    with start(*arguments, "--url", service.url) as running, fifo.open() as alive:
        assert alive.readline() == "begun\n"
        assert running.stop(number) == 128 + number
        assert select.select([alive], [], [], PATIENCE)[0]
        assert alive.read() == ""


# --- where it was left ---


def test_state_goes_on_after_what_was_handled(
    notifier: Run, service: Service, tmp_path: Path
) -> None:
    for number in range(5):
        service.publish("state", str(number))
    seen: list[str] = []
    for count in (2, 1, 2):
        arguments = ("--since", "all", "--count", str(count), "--state", "st", "--json")
        done = notifier("subscribe", "state", *arguments, "--url", service.url)
        assert (done.returncode, done.stderr) == (0, "")
        seen += [json.loads(line)["message"] for line in done.stdout.splitlines()]
    assert seen == ["0", "1", "2", "3", "4"]
    assert [path.name for path in tmp_path.iterdir()] == ["st"]
    assert re.fullmatch(r"state=\w+:5;t=[\d.]+\n", (tmp_path / "st").read_text())


def test_state_of_many_channels_is_gone_on_from(notifier: Run, service: Service) -> None:
    names = [f"many:{'x' * 100}{number:03}" for number in range(50)]
    for name in names:
        service.publish(name, name)
    seen: list[str] = []
    for count in (1, 49):
        arguments = ("--since", "all", "--count", str(count), "--state", "st", "--json")
        done = notifier("subscribe", "many:*", *arguments, "--url", service.url)
        assert (done.returncode, done.stderr) == (0, "")
        seen += [json.loads(line)["message"] for line in done.stdout.splitlines()]
    assert sorted(seen) == names


def test_state_is_kept_before_anything_was_published(
    start: Start, service: Service, tmp_path: Path
) -> None:
    with start("subscribe", "early", "--state", "st", "--url", service.url) as running:
        wait_until((tmp_path / "st").exists)
        running.process.kill()
    service.publish("early", "meanwhile")
    with start("subscribe", "early", "--state", "st", "--url", service.url) as running:
        running.until(lambda running: "meanwhile" in running.out)


def test_state_advances_while_it_runs(start: Start, service: Service, tmp_path: Path) -> None:
    with start("subscribe", "advance", "--state", "st", "--url", service.url) as running:
        service.wait_for_subscriber("advance")
        for number in range(20):
            service.publish("advance", str(number))
        file = tmp_path / "st"
        wait_until(lambda: file.exists() and ":20;" in file.read_text())
        running.process.kill()


def test_command_that_was_not_over_is_run_again(
    start: Start, service: Service, tmp_path: Path
) -> None:
    """Killed outright, or asked to stop: what was begun is not taken for done."""
    for number in range(3):
        service.publish("again", str(number))
    script = 'echo $NOTIFIER_MESSAGE >> log; test "$NOTIFIER_MESSAGE" != 1 || exec sleep 90'
    log = tmp_path / "log"
    arguments = ("subscribe", "again", "--since", "all", "--state", "st", "--url", service.url)
    with start(*arguments, "--exec", script) as running:
        wait_until(lambda: log.exists() and log.read_text() == "0\n1\n")
        running.process.kill()
        running.process.wait(PATIENCE)
    with start(*arguments, "--exec", script) as running:
        wait_until(lambda: log.read_text() == "0\n1\n1\n")
        assert running.stop() == 130
    with start(*arguments, "--count", "2", "--exec", "echo $NOTIFIER_MESSAGE >> log") as running:
        assert running.ended() == 0
    assert log.read_text() == "0\n1\n1\n1\n2\n"


@pytest.mark.parametrize("text", ["junk", "", "k3Jd9wQa:42", "a=b;t=1", "\x00\xff" * 9000])
def test_file_that_holds_something_else_is_told(notifier: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "st").write_text(text)
    done = notifier("subscribe", "a", "--state", "st")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: st holds no resume token; to begin anew, delete it\n"
    assert (tmp_path / "st").read_text() == text


def test_state_that_cannot_be_written_is_told(notifier: Run, service: Service) -> None:
    done = notifier("subscribe", "a", "--state", "no/such/folder/st", "--url", service.url)
    assert done.returncode == 1
    assert "no/such/folder" in done.stderr and "No such file or directory" in done.stderr


def test_state_is_tried_before_the_first_command(
    notifier: Run, service: Service, tmp_path: Path
) -> None:
    """Or each start would run the same again."""
    service.publish("tried", "0")
    arguments = ("--since", "all", "--state", "no/st", "--exec", "echo >> ran")
    done = notifier("subscribe", "tried", *arguments, "--url", service.url)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_state_that_cannot_be_written_any_more_is_told_at_once(
    start: Start, service: Service, tmp_path: Path
) -> None:
    """Also if nothing comes any more."""
    folder, away = tmp_path / "folder", tmp_path / "away"
    folder.mkdir()
    with start("subscribe", "later", "--state", "folder/st", "--url", service.url) as running:
        wait_until((folder / "st").exists)
        number, written = 0, True
        while written:
            number += 1
            service.publish("later", f"this is {number}.")
            running.until(lambda running, said=f"is {number}.": said in running.out)
            folder.rename(away)
            written = f":{number};" in (away / "st").read_text()
            if written:  # at once; the next one is to wait
                away.rename(folder)
        assert running.ended() == 1
        assert "No such file or directory" in running.err


def test_state_that_cannot_be_read_is_told(notifier: Run, tmp_path: Path) -> None:
    (tmp_path / "st").symlink_to("st")
    done = notifier("subscribe", "a", "--state", "st")
    assert done.returncode == 2
    assert "st: Too many levels" in done.stderr


def test_descriptors_stay_blocking(start: Start, service: Service) -> None:
    """Whoever shares the terminal or the pipe is not to be surprised."""
    leader, follower = os.pipe()
    with start("subscribe", "blocking", "--url", service.url, stdin=leader) as running:
        service.wait_for_subscriber("blocking")
        assert os.get_blocking(follower) and os.get_blocking(leader)
        assert running.process.stdout is not None
        assert running.stop() == 130
    os.close(leader)
    os.close(follower)
