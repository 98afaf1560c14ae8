"""Where programs of tests come from: ``python -m tests.nursery SOCKET``.

A process that has imported the libraries that ours need, and none of ours. For each message on the
socket (see :mod:`tests.warm`) it forks; the child becomes ``python -m notifier``. It ends when
nobody holds the socket's other end any more.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import time
from typing import Any

_OURS = ("notifier", "handlers", "tests")
_LONGEST = 1 << 20


def libraries() -> list[str]:
    """The modules that ours import; found in a child, since ours are not to stay."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        import notifier.cli
        import notifier.server

        for module in pkgutil.iter_modules(notifier.cli.__path__, "notifier.cli."):
            importlib.import_module(module.name)
        with open(writing, "w") as end:
            json.dump([name for name in sys.modules if name.split(".")[0] not in _OURS], end)
        os._exit(0)
    os.close(writing)
    with open(reading) as end:
        names: list[str] = json.load(end)
    os.wait()
    return names


def serve(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for whoever asks.

    :return: in a child, what it is asked to be, and its standard streams; ``None`` at the end.
    """
    woken, wakeup = socket.socketpair()
    for end in (woken, wakeup):
        end.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's
    # By process: where its end is told.
    told: dict[int, int] = {}
    poll = select.poll()
    for end in (woken, control):
        poll.register(end, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if woken.fileno() in ready:
            woken.recv(4096)
            _reap(told)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, _LONGEST, 4)
        if not message:
            return None
        *streams, telling = descriptors
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for end in (woken, wakeup, control):
                end.close()
            for descriptor in (telling, *told.values()):
                os.close(descriptor)
            return json.loads(message), streams
        told[pid] = telling
        os.write(telling, b"%d\n" % pid)
        for descriptor in streams:
            os.close(descriptor)


def _reap(told: dict[int, int]) -> None:
    while told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        telling = told.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(telling, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(telling)


def become(asked: dict[str, Any], streams: list[int]) -> None:
    """Be what ``python -m notifier`` is when it begins."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # As Python chose it for the nursery's own; standard error is written line by line always.
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]
    sys.argv = ["notifier", *asked["arguments"]]


def main() -> None:
    for name in libraries():
        with contextlib.suppress(ImportError):  # made by another, not found by its name
            importlib.import_module(name)
    assert not any(name.split(".")[0] == "notifier" for name in sys.modules)
    # No child's collections look through the libraries: half of what its start would take.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        child = serve(control)
    if child is not None:
        become(*child)
        runpy.run_module("notifier", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
