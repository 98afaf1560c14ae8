"""A WebSocket client that keeps account, and a server to try it on.

The client reads as slowly as it is told, and takes nothing for granted: every byte goes through
:class:`~tests.frames.FrameParser`, every message into an :class:`~tests.account.Account`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, Self

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from handlers.application import application
from handlers.patience import Patience
from notifier.assets import static_path
from notifier.brokers.alone import Alone
from notifier.config import Settings
from notifier.node import Node, wall_clock_ms
from notifier.notification import Notification
from notifier.tls import Keypair
from tests.account import Account, RecordingBroker
from tests.frames import CLOSE, PING, PONG, Frame, client_frame
from tests.handlers.serving import CERTIFICATE, UNHURRIED, RawSocket, open_stream

# Far above what anything here takes on a slow machine: who waits longer waits for nothing.
PATIENCE = 60.0
# What a service speaks that is not told.
TLS = False


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something that comes about by itself."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)


class Closable(Protocol):
    def close(self) -> None: ...


class Service:
    """A node behind a listening socket, with a broker that keeps account."""

    def __init__(
        self, node: Node, broker: RecordingBroker, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self.node = node
        self.broker = broker
        self.port = port
        # Whom clients trust, where TLS is spoken.
        self.tls = tls
        # Those that are hung up on at the end.
        self.clients: list[Closable] = []

    async def publish(self, channel: str, message: str, **fields: Any) -> None:
        notification = Notification.parse({"message": message, **fields})
        await self.node.publish(notification, channel, producer="")


@asynccontextmanager
async def serving(
    *, send_buffer: int | None = None, tls: bool | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """Serve on a free port; ``send_buffer`` is the kernel's for each accepted socket.

    WebSockets that offer to are compressed. Clients may send as fast as they can.
    """
    tls = TLS if tls is None else tls
    chosen = Settings(**{"deflate": True, **UNHURRIED, "max_commands_per_second": 0, **settings})
    namespaces = chosen.channel_namespaces()
    broker = RecordingBroker(
        namespaces,
        history_bytes=chosen.history_bytes,
        max_channels=chosen.max_channels,
        idempotency_ttl=chosen.idempotency_ttl,
        max_idempotency_keys=chosen.max_idempotency_keys,
        now_ms=wall_clock_ms,
    )
    node = Node(chosen, broker, Alone(), namespaces)
    server = HTTPServer(
        application(node, static_path(), Patience(node.settings, node.counts)),
        ssl_options=Keypair(CERTIFICATE, CERTIFICATE).load().context if tls else None,
    )
    listener, port = bind_unused_port()
    listener.listen(1024)
    if send_buffer is not None:
        # Accepted sockets inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server.add_socket(listener)

    async def sweep() -> None:
        while True:
            node.sweep()
            await asyncio.sleep(0.05)

    sweeping = asyncio.create_task(sweep())
    trust = ssl.create_default_context(cafile=CERTIFICATE) if tls else None
    service = Service(node, broker, port, trust)
    try:
        yield service
    finally:
        for client in service.clients:
            client.close()
        sweeping.cancel()
        server.stop()
        for connection in list(node.connections.values()):
            connection.sink.abort()
        await server.close_all_connections()
        await until(lambda: not node.connections)
        await node.close()


class AccountedSocket(RawSocket):
    """A client of a :class:`Service` that keeps account of every message.

    :ivar code: of the Close frame that came.
    :ivar ended: nothing more can come: the server hung up.
    """

    def __init__(self, service: Service, *streams: Any) -> None:
        super().__init__(*streams)
        self.account = Account(service.broker, service.node.now_ms)
        self.pings: deque[bytes] = deque()
        self.pinged = 0
        self.code: int | None = None
        self.ended = False
        self._refs = 0

    @classmethod
    async def connect(
        cls, service: Service, path: str = "/ws", *, receive_buffer: int | None = None
    ) -> Self:
        client = cls(
            service,
            *await open_stream(service.port, receive_buffer=receive_buffer, tls=service.tls),
        )
        service.clients.append(client)
        answer = await client.upgrade(path)
        assert answer.status == 101, answer
        return client

    # --- sending ---

    async def command(self, kind: str, **members: Any) -> int:
        """A command of the native protocol; its ``ref``."""
        self._refs += 1
        self.account.expect(self._refs, kind)
        await self.say({"type": kind, **members, "ref": self._refs})
        return self._refs

    async def ping(self) -> None:
        payload = b"%d" % self.pinged
        self.pinged += 1
        self.pings.append(payload)
        await self.send(client_frame(payload, PING))

    async def say_close(self, code: int = 1000) -> None:
        await self.send(client_frame(code.to_bytes(2), CLOSE))

    # --- receiving ---

    async def read(self, size: int = 1 << 18) -> int:
        """Take at most so many bytes, and account for the frames that are complete with them."""
        try:
            taken = await super().read(size)
        except ConnectionError:
            taken = 0
        self.ended = not taken
        while self._frames:
            await self._take(self._frames.popleft())
        return taken

    async def read_until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert not self.ended, "the server hung up"
                await self.read()

    async def _take(self, frame: Frame) -> None:
        if frame.opcode == PONG:
            # One pong may answer several pings, with the last of them (RFC 6455 §5.5.3).
            assert frame.payload in self.pings, f"the pong {frame.payload!r}, due {self.pings}"
            while self.pings.popleft() != frame.payload:
                pass
        elif frame.opcode == PING:
            with suppress(ConnectionError):
                await self.send(client_frame(frame.payload, PONG))
        elif frame.opcode == CLOSE:
            self.code = int.from_bytes(frame.payload[:2])
        else:
            self.account.receive(frame.payload)

    @property
    def whole(self) -> bool:
        """Whether no frame is incomplete."""
        return not self.parser.inside

    def up_to_date(self) -> bool:
        """Whether it has, or was told of, everything there is."""
        return self.account.welcomed and not any(self.account.missing())

    def close(self) -> None:
        """Hang up without a word."""
        self.reset()
