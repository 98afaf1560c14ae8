"""Servers as processes: started, asked what they cost, and ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
STARTING_SECONDS = 60.0
ENDING_SECONDS = 20.0
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Running:
    """Processes that are one server, with all that they have started themselves."""

    def __init__(self, *processes: subprocess.Popen[bytes]) -> None:
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        """Of all of them, also of what they have started, such as workers."""
        found: list[int] = []
        waiting = [process.pid for process in self._processes]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += _children(pid)
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all of them so far."""
        return sum(_cpu_seconds(pid) for pid in self.pids)

    def memory_bytes(self) -> int:
        """What all of them have resident (pages they share count for each)."""
        return sum(_resident_bytes(pid) for pid in self.pids)

    def pin(self, *cores: int) -> None:
        """Let them, each with its threads, run on these cores alone."""
        for pid in self.pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cores)

    def signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)

    @property
    def alive(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def stop(self) -> None:
        """SIGKILL and wait: nobody is to be sent away in good order here."""
        pids = self.pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it ended with its parent
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(ENDING_SECONDS)


def spawn(
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    cwd: Path = CHECKOUT,
    env: Mapping[str, str] | None = None,
) -> Running:
    """Start a server and wait until it accepts connections.

    :param env: variables on top of ours.
    :raises RuntimeError: it ended, or takes too long; what it said is in it.
    """
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    end = time.monotonic() + STARTING_SECONDS
    while not accepts(port):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            process.wait()
            said = log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{command[0]} did not start:\n{said}")
        time.sleep(0.02)
    return Running(process)


def accepts(port: int) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """One that nobody listens on, outside of those the kernel gives to clients."""
    # By chance: another call may look for one just now.
    for port in random.sample(range(12000, 32000), 100):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s ``stat`` from the third, ``state``, on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        # The same as utime + stime in `stat`, which counts in hundredths of a second.
        found = [int((thread / "schedstat").read_text().split()[0]) for thread in threads]
    except OSError:
        return _coarse_cpu_seconds(pid)
    return sum(found) / 1e9


def _coarse_cpu_seconds(pid: int) -> float:
    """Where the kernel has no schedstat, or a thread has just ended."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _children(pid: int) -> list[int]:
    found = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    except OSError:
        return found
    return found
