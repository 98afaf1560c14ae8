"""The supervisor over real processes; what they do is in ``tests/supervised.py``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notifier.supervisor import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, cores, pause

CHECKOUT = Path(__file__).parent.parent
# Far above what anything here takes on a slow machine: who waits longer waits for nothing.
PATIENCE = 60.0
READY = "ready http://nowhere\n"


class Supervised:
    """The running supervisor, in a process group of its own; ``log`` is what all have said."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.supervised", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def events(self, event: str) -> list[str]:
        """The fields of each event of that name."""
        return re.findall(rf"(?m) {re.escape(event)} (.*)$", self.log)

    def pids(self) -> list[int]:
        """Those that were started, in that order."""
        return [int(fields.split("pid=")[1]) for fields in self.events("worker.started")]

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it did not come about:\n" + self.log
            time.sleep(0.01)

    def until_ready(self) -> None:
        self.until(lambda: READY in self.log)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def signal_all(self, number: signal.Signals) -> None:
        """As a terminal or systemd does: the supervisor and the workers."""
        os.killpg(self.process.pid, number)

    def go(self) -> None:
        (self.folder / "go").touch()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.pids():
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        sys.stderr.write(self.log)


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor with arguments."""
    started: list[Supervised] = []

    def supervise(*arguments: str) -> Supervised:
        started.append(Supervised(tmp_path, *arguments))
        return started[-1]

    yield supervise
    for each in started:
        each.end()


def gone(pid: int) -> bool:
    """Whether the process has ended, though perhaps nobody has asked for its status."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_are_started_and_drained(supervise: Supervise, number: signal.Signals) -> None:
    running = supervise("faithful", "3")
    running.until_ready()
    pids = running.pids()
    assert len(set(pids)) == 3 and running.process.pid not in pids
    running.signal(number)
    assert running.exit_code() == 0
    assert sorted(running.events("drained")) == sorted(
        f"worker={worker} pid={pid}" for worker, pid in enumerate(pids, 1)
    )
    assert all(map(gone, pids))
    assert running.log.count(READY) == 1


def test_fallen_worker_is_told_of_and_replaced(supervise: Supervise) -> None:
    running = supervise("faithful", "2")
    running.until_ready()
    first, second = running.pids()
    os.kill(first, signal.SIGKILL)
    running.until(lambda: len(running.pids()) == 3)
    assert running.events("worker.ended")[0].startswith(f"worker=1 pid={first} signal=SIGKILL ")
    assert running.events("worker.started")[-1].startswith("worker=1 ")
    assert not gone(second)
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert running.log.count(READY) == 1


def test_signal_without_a_name_is_told_by_its_number(supervise: Supervise) -> None:
    running = supervise("faithful", "1")
    running.until_ready()
    os.kill(running.pids()[0], signal.SIGRTMIN + 1)
    running.until(lambda: len(running.pids()) == 2)
    assert f' signal="signal {signal.SIGRTMIN + 1}" ' in running.log


def test_worker_that_is_asked_to_leave_drains_and_is_replaced(supervise: Supervise) -> None:
    running = supervise("faithful", "2")
    running.until_ready()
    first, _ = running.pids()
    os.kill(first, signal.SIGTERM)
    running.until(lambda: len(running.pids()) == 3)
    assert running.events("drained") == [f"worker=1 pid={first}"]
    assert f"INFO  worker.ended worker=1 pid={first} status=0 " in running.log
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0


def test_worker_that_falls_at_once_is_started_again_after_ever_longer_pauses(
    supervise: Supervise,
) -> None:
    running = supervise("brief", "1")
    running.until(lambda: len(running.events("worker.ended")) == 3)
    told = [float(fields.split("restart_in=")[1]) for fields in running.events("worker.ended")]
    assert told == [0.5, 1.0, 2.0]
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert len(running.pids()) == 3


def test_pause_doubles_to_its_limit() -> None:
    assert [pause(failures) for failures in range(4)] == [0.0, 0.5, 1.0, 2.0]
    assert pause(1) == FIRST_PAUSE_SECONDS
    assert pause(10_000) == LONGEST_PAUSE_SECONDS


def test_it_gives_up_when_no_worker_can_start(supervise: Supervise) -> None:
    running = supervise("hopeless", "3")
    assert running.exit_code() == 1
    assert running.log.endswith("none: there is no hope\n")
    assert len(running.pids()) == 3
    reasons = [fields.split("status=")[1] for fields in running.events("worker.ended")]
    assert reasons == ['1 reason="there is no hope"'] * 3


def test_it_says_how_workers_ended_that_have_not_said_why(supervise: Supervise) -> None:
    running = supervise("wordless", "2")
    assert running.exit_code() == 1
    assert re.search(r"none: worker \d ended with status 3 before it listened\n$", running.log)


def test_worker_that_was_killed_before_it_listened_is_told_of(supervise: Supervise) -> None:
    running = supervise("late", "1")
    running.until(lambda: running.events("late"))
    os.kill(running.pids()[0], signal.SIGKILL)
    assert running.exit_code() == 1
    assert running.log.endswith("none: worker 1 was ended by SIGKILL before it listened\n")


def test_exception_of_a_worker_is_logged(supervise: Supervise) -> None:
    running = supervise("broken", "1")
    assert running.exit_code() == 1
    assert "ERROR worker.crashed" in running.log and "RuntimeError: broken" in running.log


def test_worker_that_could_not_start_is_tried_again_once_another_listens(
    supervise: Supervise,
) -> None:
    running = supervise("second", "2")
    running.until_ready()
    assert len(running.pids()) == 3
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0


def test_second_signal_stops_at_once(supervise: Supervise) -> None:
    running = supervise("patient", "2")
    running.until_ready()
    running.signal(signal.SIGTERM)
    running.until(lambda: len(running.events("asked")) == 2)
    assert running.events("insisted") == []
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert len(running.events("insisted")) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_all_processes_is_not_taken_for_a_second_one(
    supervise: Supervise, number: signal.Signals
) -> None:
    running = supervise("patient", "2")
    running.until_ready()
    running.signal_all(number)
    running.until(lambda: len(running.events("asked")) == 2)
    running.until(lambda: running.events("supervisor.draining"))
    running.go()
    assert running.exit_code() == 0
    assert len(running.events("drained")) == 2


def test_worker_that_does_not_end_is_killed(supervise: Supervise) -> None:
    running = supervise("stuck", "2", "--margin", "0.2")
    running.until_ready()
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 1
    assert len(running.events("worker.late")) == 2
    assert all(map(gone, running.pids()))


def test_order_reaches_a_worker_that_is_still_starting(supervise: Supervise) -> None:
    running = supervise("late", "2")
    running.until(lambda: len(running.events("late")) == 2)
    running.signal(signal.SIGTERM)
    running.until(lambda: running.events("supervisor.draining"))
    running.go()
    assert running.exit_code() == 0
    assert len(running.events("drained")) == 2


def test_hangup_has_every_worker_read_its_files_again_once(supervise: Supervise) -> None:
    running = supervise("faithful", "2")
    running.until_ready()
    running.signal_all(signal.SIGHUP)  # a worker itself takes no notice
    running.until(lambda: len(running.events("reloaded")) == 2)
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0
    assert len(running.events("reloaded")) == 2
    assert len(running.events("drained")) == 2


def test_hangup_sends_nobody_away(supervise: Supervise) -> None:
    running = supervise("faithful", "2")
    running.until_ready()
    running.signal_all(signal.SIGHUP)
    os.kill(running.pids()[0], signal.SIGKILL)  # it is seen after the other signal
    running.until(lambda: len(running.pids()) == 3)
    assert running.events("asked") == []
    assert len(running.events("worker.ended")) == 1
    running.signal(signal.SIGTERM)
    assert running.exit_code() == 0


def test_workers_drain_when_their_supervisor_is_killed(supervise: Supervise) -> None:
    running = supervise("faithful", "3")
    running.until_ready()
    # One that came later has inherited the lines of the others.
    os.kill(running.pids()[0], signal.SIGKILL)
    running.until(lambda: len(running.pids()) == 4)
    running.signal(signal.SIGKILL)
    _, *left = running.pids()
    running.until(lambda: all(map(gone, left)))
    assert len(running.events("drained")) == 3
    assert len(re.findall(r"WARN  worker\.orphaned\n", running.log)) == 3


def test_cores_are_those_this_process_may_use() -> None:
    assert cores() == len(os.sched_getaffinity(0))
