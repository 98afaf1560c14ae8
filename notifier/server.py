"""The composition root: from settings to a running server, and its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets

from handlers.application import application
from handlers.forwarded import Proxies
from handlers.keysource import KeySource, fetcher
from handlers.patience import Patience
from handlers.stream import let_go
from handlers.unread import Unread
from notifier import audit, logs
from notifier.assets import static_path
from notifier.auth.jwks import Jwks
from notifier.authentication import Authentication
from notifier.brokers.choice import backing_of
from notifier.config import Origin, Settings
from notifier.counts import Counts
from notifier.drain import FAREWELL_SECONDS, Drain, by_chance
from notifier.errors import TooManyConnectionsFromAddress
from notifier.lobby import Lobby
from notifier.node import Node, wall_clock_ms
from notifier.tls import CannotLoad, Keypair

log = logging.getLogger("notifier.server")

SWEEP_SECONDS = 1.0
# How often it is looked whether the certificate was replaced.
WATCH_SECONDS = 60.0
# How often it is looked how late the event loop is.
LAG_SECONDS = 0.1
# Connections the kernel holds for us while the loop is busy: a reconnect storm's worth.
BACKLOG = 4096
# Open files besides the subscribers' connections: producers', the log, the loop's own.
SPARE_FILES = 256


class _HTTPServer(HTTPServer):
    """Tells the application when a connection has closed, keeps addresses from opening too many,
    and cuts off who reads no answers.
    """

    lobby: Lobby
    unread: Unread
    counts: Counts

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self.lobby.enter(str(address[0])):
            super().handle_stream(stream, address)
        else:
            self.counts.errors[TooManyConnectionsFromAddress.code] += 1
            stream.close()

    def sweep(self, now: float) -> None:
        self.unread.sweep(self._connections, now)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        assert isinstance(server_conn, HTTP1ServerConnection)
        if server_conn.stream.closed():
            let_go(server_conn.stream)
        self.lobby.leave(str(server_conn.context.address[0]))  # type: ignore[attr-defined]
        assert isinstance(self.request_callback, HTTPServerConnectionDelegate)
        self.request_callback.on_close(server_conn)


class Server:
    """A node behind its listening sockets.

    ::

        server = Server(settings)
        await server.start()
        …
        await server.stop()        # at once, or
        await server.drain()       # clients are sent away one by one, then stop

    :ivar look: what else is looked at each second.
    :raises CannotAuthenticate:
    """

    look: Callable[[], object] | None = None

    def __init__(
        self, settings: Settings, origins: Mapping[str, Origin] = MappingProxyType({})
    ) -> None:
        namespaces = settings.channel_namespaces()
        self.settings = settings
        broker, fleet = backing_of(settings, namespaces, wall_clock_ms)
        url = settings.token_jwks_url
        self._key_source = KeySource(Jwks(), fetcher(url), time.monotonic) if url else None
        self._authentication = Authentication(settings, self._key_source, fleet.shelf)
        self.node = Node(
            settings,
            broker,
            fleet,
            namespaces,
            origins=origins,
            access=self._authentication.access,
            authenticator=self._authentication.authenticator,
        )
        patience = Patience(settings, self.node.counts)
        self._http = _HTTPServer(
            application(self.node, static_path(), patience),
            # Above it Tornado hangs up without a word; the door refuses at the limit itself.
            max_header_size=4 * settings.max_header_bytes,
            max_body_size=settings.max_body_bytes,
            # Tornado closes a stream that has more than this unread by us.
            max_buffer_size=2 * max(settings.max_body_bytes, settings.max_message_bytes) + 65536,
        )
        limit = settings.max_connections_per_address
        self._http.lobby = Lobby(
            limit and limit + SPARE_FILES, Proxies(settings.trusted_proxies).trusts_peer
        )
        self._http.unread = Unread(
            self.node.counts,
            settings.stalled_seconds,
            settings.max_backlog_bytes,
            sending=patience.unending,
        )
        self._http.counts = self.node.counts
        # The application itself looks after those who take too long.
        self._http.conn_params.header_timeout = None
        files = settings.keypair()
        self._keypair = Keypair(*files) if files else None
        self._look_at = 0.0
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
        scheme = "https" if self._keypair else "http"
        return (
            f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        )

    async def start(self) -> None:
        """Listen.

        :raises OSError: the address can't be had.
        :raises CannotOpen: nor can the broker.
        :raises CannotLoad: nor can the certificate.
        """
        if self._keypair is not None:
            self._http.ssl_options = self._keypair.load().context
        self._sockets = bind_sockets(
            self.settings.port,
            address=self.settings.host,
            backlog=BACKLOG,
            reuse_port=self.settings.workers > 1,
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

    def reload(self) -> None:
        """Read the files of keys again, and the certificate and its key, for new connections.

        If they can't be used it goes on with those it has.
        """
        self._look_at_keys(again=True)
        self._load_keypair()

    def _load_keypair(self) -> None:
        if self._keypair is None:
            return
        try:
            self._http.ssl_options = self._keypair.load().context
        except CannotLoad as error:
            logs.event(log, logging.ERROR, "tls.not_loaded", reason=error)

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
        if self._key_source is not None:
            await self._key_source.close()
        await self.node.close()
        logs.event(log, logging.INFO, "server.stopped")

    async def _sweep(self) -> None:
        """Keep-alive and housekeeping, for as long as the server runs."""
        while True:
            try:
                more = self.node.sweep()
                self._http.sweep(asyncio.get_running_loop().time())
                self._watch()
                if self.look is not None:
                    self.look()
            except Exception as error:  # noqa: BLE001
                # One bad connection must not end everybody's keep-alive.
                logs.event(log, logging.ERROR, "sweep.failed", exc_info=error)
                more = False
            await asyncio.sleep(0 if more else SWEEP_SECONDS)

    def _look_at_keys(self, *, again: bool = False) -> None:
        for look in self._authentication.look(again=again):
            ended = self.node.residents.recheck(look.kind) if look.changed else None
            audit.record_reload(by=look.by, file=look.place, ended=ended)

    def _watch(self) -> None:
        """Where nobody tells us of new keys, or of a new certificate."""
        self._look_at_keys()
        now = asyncio.get_running_loop().time()
        if self._keypair is None or now < self._look_at:
            return
        self._look_at = now + WATCH_SECONDS
        if self._keypair.changed():
            self._load_keypair()

    async def _measure_lag(self) -> None:
        """How much later than it should a turn of the loop comes."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.node.counts.loop_lag.observe(max(0.0, loop.time() - due))


def claim(settings: Settings) -> list[socket.socket]:
    """Hold the address for workers, which bind it again; close what is returned at the end.

    The sockets listen to nothing, so no connection ends up with them.

    :raises OSError: it can't be had.
    """
    # Without SO_REUSEPORT at first: with it, another notifier's workers would share their port
    # with these and get half of their clients.
    probes = bind_sockets(settings.port, address=settings.host, backlog=1)
    addresses = [(probe.family, probe.getsockname()) for probe in probes]
    for probe in probes:
        probe.close()
    with contextlib.ExitStack() as stack:
        held = []
        for family, address in addresses:
            sock = stack.enter_context(socket.socket(family))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            held.append(sock)
        stack.pop_all()
    return held
