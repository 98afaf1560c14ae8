"""A server that runs, and the load that has been attached to it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.case import Turn
from bench.load import SINCE, Load, handshake, sources_of
from bench.peer import Peer
from bench.plan import Plan
from bench.process import Running, free_port

CHANNEL = "bench"
# After the last handshake: some servers count a subscriber a moment later than they answer it.
SETTLING_SECONDS = 0.3


class Stage:
    """The server and the load, each on its cores; both end with the context.

    ::

        with Stage(peer, plan) as stage:
            stage.listen(1000)
            stage.publish(interval=0.05)
            turn = stage.turn(seconds=2)

    :param running: a server that runs already, and whose end is not ours.
    """

    def __init__(
        self,
        peer: Peer,
        plan: Plan,
        *,
        payload_bytes: int = 200,
        running: tuple[Running, int] | None = None,
    ) -> None:
        self.peer = peer
        self.plan = plan
        self.sockets = 0
        self._payload_bytes = payload_bytes
        self._given = running
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self._given is None:
                self.server, self.port = stack.enter_context(serving(self.peer, self.plan))
            else:
                self.server, self.port = self._given
            self.load = stack.enter_context(
                Load(
                    payload_bytes=self._payload_bytes,
                    seed=self.plan.seed,
                    cores=self.plan.other_cores,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def group(
        self,
        *channels: str,
        resume: bool = False,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> int:
        """A group of sockets that subscribe to these channels.

        :param resume: they go on from the last message they have had (notifier alone).
        """
        subscribing = self.peer.subscribing(*channels)
        hello = handshake(subscribing, **(headers or {}))
        if resume:
            mark = SINCE.encode()
            hello = hello.replace(b" HTTP/1.1\r\n", b"&since=" + mark + b" HTTP/1.1\r\n", 1)
            options |= {"place": b'"position":"'}
        return self.load.group(self.port, hello, subscribing, **options)

    def listen(self, sockets: int, group: int | None = None, **options: Any) -> dict[str, Any]:
        """Open so many in the group, or in one that listens to :data:`CHANNEL`."""
        if group is None:
            group = self.group(CHANNEL)
        opened = self.load.open(group, sockets, **options)
        self.sockets += sockets
        time.sleep(SETTLING_SECONDS)
        return opened

    def publish(
        self, *, connections: int = 1, batch: int = 0, group: int = 0, interval: float = 0.0
    ) -> None:
        """Publish in each turn on so many connections: paced, or as soon as they are answered.

        :raises LookupError: the peer publishes no batches.
        """
        for _ in range(connections):
            source = sources_of(self.load, self.peer, group, CHANNEL, batch=batch)
            self.load.publisher(self.port, [source], interval=interval)

    def probe(self, per_second: int) -> None:
        """Ask for an answer so often, to see how long the server keeps others waiting."""
        asked = self.peer.probe()
        if asked is None:
            return
        source = self.load.source(0, asked)
        self.load.publisher(self.port, [source], interval=1 / per_second)

    def turn(self, **options: Any) -> Turn:
        """Publish, wait until everything has arrived, and say what it cost."""
        cpu = self.server.cpu_seconds()
        told = self.load.run(**options)
        return turn_of(told, self.server.cpu_seconds() - cpu)


def turn_of(told: dict[str, Any], cpu: float) -> Turn:
    """The figures in what the load tells of a run.

    :param cpu: seconds of the server.
    """
    turn: Turn = {
        "wrong": abs(told["missing"]) + told["late"] + told["changed"] + told["refused"],
        "published": told["published"],
        "delivered": told["delivered"],
        "hangups": told["hangups"],
        "cpu_seconds": cpu,
        "seconds": told["seconds"],
    }
    if told["delivered"]:
        turn["cpu_per_delivery"] = cpu / told["delivered"]
    if told["published"]:
        turn["cpu_per_publication"] = cpu / told["published"]
    if told["seconds"]:
        turn["deliveries_per_second"] = told["delivered"] / told["seconds"]
        turn["publications_per_second"] = told["published"] / told["seconds"]
        turn["cores"] = cpu / told["seconds"]
        turn["load_cores"] = told["load_cpu"] / told["seconds"]
    if cpu:
        turn["deliveries_per_core"] = told["delivered"] / cpu
        turn["publications_per_core"] = told["published"] / cpu
    for name in ("latency", "last_reader", "opening", "away", "replay", "answer", "probe"):
        for quantile, seconds in (told[name] or {}).items():
            turn[f"{name}_{quantile}"] = seconds
    return turn


@contextlib.contextmanager
def serving(peer: Peer, plan: Plan) -> Iterator[tuple[Running, int]]:
    """The peer's server and its port."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = free_port()
        with kept_to(plan.server_cores):
            running = peer.start(port, folder=Path(folder))
        try:
            yield running, port
        finally:
            running.stop()


@contextlib.contextmanager
def kept_to(cores: Sequence[int] | None) -> Iterator[None]:
    """What is started meanwhile runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
