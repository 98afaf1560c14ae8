"""A supervisor whose workers do what a test wants: ``python -m tests.supervised WORK COUNT``.

It works in an empty directory, where tests leave files to tell the workers something.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from notifier import logs
from notifier.lifeline import Lifeline
from notifier.orders import Orders
from notifier.supervisor import NoneStarted, Supervisor

log = logging.getLogger("tests.supervised")

URL = "http://nowhere"


def said(line: Lifeline, word: str) -> None:
    logs.event(log, logging.INFO, word, worker=line.worker, pid=os.getpid())


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def attend(line: Lifeline, leave: Callable[[Orders], asyncio.Task[None]]) -> None:
    orders = Orders(reload=lambda: said(line, "reloaded"))
    with line.attended(orders):
        line.listening(URL)
        await orders.asked.wait()
        said(line, "asked")
        await leave(orders)
        said(line, "insisted" if orders.insisted.is_set() else "drained")


def faithful(line: Lifeline) -> int:
    """Leaves when told to."""
    asyncio.run(attend(line, lambda orders: asyncio.create_task(asyncio.sleep(0))))
    return 0


def patient(line: Lifeline) -> int:
    """Drains until there is a file ``go``, or somebody insists."""

    async def leave(orders: Orders) -> None:
        while not (orders.insisted.is_set() or os.path.exists("go")):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)

    asyncio.run(attend(line, lambda orders: asyncio.create_task(leave(orders))))
    return 0


def stuck(line: Lifeline) -> int:
    """Is told, and does nothing about it."""
    line.listening(URL)
    time.sleep(3600)
    return 0


def late(line: Lifeline) -> int:
    """Attends its line only when there is a file ``go``."""
    said(line, "late")
    while not Path("go").exists():
        time.sleep(0.01)
    return faithful(line)


def brief(line: Lifeline) -> int:
    """Listens, and ends at once."""
    line.listening(URL)
    return 3


def hopeless(line: Lifeline) -> int:
    """Can't start, and says why."""
    line.failed("there is no hope")
    return 1


def wordless(line: Lifeline) -> int:
    """Can't start, and does not say why."""
    return 3


def broken(line: Lifeline) -> int:
    """Fails as no worker should."""
    raise RuntimeError("broken")


def second(line: Lifeline) -> int:
    """The first of them fails at its first try."""
    if line.worker == 1 and not Path("tried").exists():
        Path("tried").touch()
        return 3
    while not Path("tried").exists():
        time.sleep(0.01)
    return faithful(line)


WORKS = {
    work.__name__: work
    for work in (faithful, patient, stuck, late, brief, hopeless, wordless, broken, second)
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("count", type=int)
    parser.add_argument("--margin", type=float, default=60.0)
    arguments = parser.parse_args()
    logs.configure("info")
    supervisor = Supervisor(
        WORKS[arguments.work],
        arguments.count,
        drain_seconds=0.0,
        margin_seconds=arguments.margin,
        on_ready=lambda url: tell(f"ready {url}"),
    )
    try:
        return supervisor.run()
    except NoneStarted as error:
        tell(f"none: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
