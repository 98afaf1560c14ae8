"""The composition root: from settings to a running server, and its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from handlers.routes import application
from notifier import logs
from notifier.assets import static_path
from notifier.brokers.choice import backing_of
from notifier.config import Settings
from notifier.drain import FAREWELL_SECONDS, Drain, by_chance
from notifier.node import Node, wall_clock_ms

log = logging.getLogger("notifier.server")

SWEEP_SECONDS = 1.0
# How often it is looked how late the event loop is.
LAG_SECONDS = 0.1
# Connections the kernel holds for us while the loop is busy: a reconnect storm's worth.
BACKLOG = 4096
# Open files besides the subscribers' connections: producers', the log, the loop's own.
SPARE_FILES = 256


class Server:
    """A node behind its listening sockets.

    ::

        server = Server(settings)
        await server.start()
        …
        await server.stop()        # at once, or
        await server.drain()       # clients are sent away one by one, then stop
    """

    def __init__(self, settings: Settings) -> None:
        namespaces = settings.channel_namespaces()
        self.settings = settings
        broker, fleet = backing_of(settings, namespaces, wall_clock_ms)
        self.node = Node(settings, broker, fleet, namespaces)
        self._http = HTTPServer(
            application(self.node, static_path()),
            # Above it Tornado hangs up without a word; the door refuses at the limit itself.
            max_header_size=4 * settings.max_header_bytes,
            idle_connection_timeout=settings.header_timeout,
            body_timeout=settings.body_timeout,
            max_body_size=settings.max_body_bytes,
            # Tornado closes a stream that has more than this unread by us.
            max_buffer_size=2 * max(settings.max_body_bytes, settings.max_message_bytes) + 65536,
        )
        self._sockets: list[socket.socket] = []
        self._chores: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        host = self.settings.host
        if host in ("0.0.0.0", "::", ""):
            host = "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        :raises OSError: the address can't be had.
        :raises CannotOpen: nor can the broker.
        """
        self._sockets = bind_sockets(
            self.settings.port, address=self.settings.host, backlog=BACKLOG
        )
        try:
            await self.node.open(self.port)
        except BaseException:
            for listening in self._sockets:
                listening.close()
            raise
        self._chores = [
            asyncio.create_task(self._sweep()),
            asyncio.create_task(self._measure_lag()),
        ]
        self._http.add_sockets(self._sockets)
        logs.event(log, logging.INFO, "server.listening", url=self.url)

    async def drain(self) -> None:
        """Refuse who is new, send away who is here, then stop."""
        self.node.connections.draining = True
        logs.event(
            log,
            logging.INFO,
            "server.draining",
            connections=len(self.node.connections),
            seconds=self.settings.drain_seconds,
        )
        self._http.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_seconds + FAREWELL_SECONDS):
                await Drain(
                    self.node.connections,
                    seconds=self.settings.drain_seconds,
                    shuffle=by_chance,
                ).run()
                # A producer whose request is under way gets its answer.
                await self.node.requests.quiet.wait()
        await self.stop()

    async def stop(self) -> None:
        """Stop at once."""
        self.node.connections.draining = True
        self._http.stop()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        for connection in list(self.node.connections.values()):
            connection.sink.abort("stopped")
        with contextlib.suppress(TimeoutError):
            # A request may wait for a broker that does not answer; nothing waits for it for ever.
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._http.close_all_connections()
        await self.node.close()
        logs.event(log, logging.INFO, "server.stopped")

    async def _sweep(self) -> None:
        """Keep-alive and housekeeping, for as long as the server runs."""
        while True:
            try:
                more = self.node.sweep()
            except Exception as error:  # noqa: BLE001
                # One bad connection must not end everybody's keep-alive.
                logs.event(log, logging.ERROR, "sweep.failed", exc_info=error)
                more = False
            await asyncio.sleep(0 if more else SWEEP_SECONDS)

    async def _measure_lag(self) -> None:
        """How much later than it should a turn of the loop comes."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.node.counts.loop_lag.observe(max(0.0, loop.time() - due))


def allow_files(connections: int) -> None:
    """Let the process have as many files open as it may, and say when that is not enough."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections + SPARE_FILES:
        logs.event(
            log,
            logging.WARNING,
            "server.few_files",
            open_files=hard,
            max_connections=connections,
            hint="raise the limit (ulimit -n) or lower max_connections",
        )


async def serve(settings: Settings, greet: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once."""
    allow_files(settings.max_connections)
    server = Server(settings)
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    insisted = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            insisted.set()
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        # Before it says that it listens: who reads that may end it at once.
        loop.add_signal_handler(number, on_signal)
    try:
        await server.start()
        greet(server.url)
        await asked.wait()
        draining = asyncio.create_task(server.drain())
        insisting = asyncio.create_task(insisted.wait())
        await asyncio.wait([draining, insisting], return_when=asyncio.FIRST_COMPLETED)
        insisting.cancel()
        if not draining.done():
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await server.stop()
        else:
            draining.result()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def run(settings: Settings, *, greet: Callable[[str], None] = lambda url: None) -> int:
    """Serve until told to stop; the process's exit status.

    :param greet: told the server's URL once it listens.
    """
    asyncio.run(serve(settings, greet))
    return 0
