"""The WebSocket handler under all others: handshake, protocol, sink, keep-alive."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable
from types import MappingProxyType
from typing import Any, ClassVar

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler

from handlers import door
from handlers.credential import credential_of
from handlers.described import ROOM_ERRORS, Answer, Operations
from handlers.policy import Level, Policy
from handlers.protocol import CONTROL_BYTES, INTERNAL_ERROR, Protocol, adopt
from handlers.tls import outlet
from notifier import logs
from notifier.auth.identity import ANYBODY
from notifier.errors import (
    BadParameter,
    CommandsTooFast,
    Draining,
    NotifierError,
    UpgradeRequired,
)
from notifier.limits import milliseconds
from notifier.node import Node
from notifier.sink import Sink, Stream
from notifier.wire.prepared import Format
from notifier.wire.websocket import NATIVE, PING

log = logging.getLogger("notifier.websocket")

# How a handshake (RFC 6455 §4) ends.
UPGRADED = Answer(
    "The connection is a WebSocket from here on.",
    headers={"Sec-WebSocket-Protocol": "The subprotocol that is spoken, if one was offered."},
)
HANDSHAKE_ERRORS = (BadParameter, UpgradeRequired, *ROOM_ERRORS)

# What of the request is told where something fails later.
_OF_THE_REQUEST = ("method", "path", "remote_ip")
# Attributes of Tornado's handler that it has no use for once the stream is detached.
_OF_THE_HANDSHAKE = frozenset(
    {
        "_auto_finish",
        "_headers",
        "_prepared_future",
        "_reason",
        "_transforms",
        "_write_buffer",
        "open_args",
        "open_kwargs",
        "path_args",
        "path_kwargs",
        "ui",
        # Set to functions that refuse, on a connection that is no longer HTTP.
        "finish",
        "flush",
        "redirect",
        "set_cookie",
        "set_header",
        "set_status",
        "write",
    }
)


class Socket(WebSocketHandler):
    """One WebSocket connection; a :class:`~notifier.connections.Connection` of the node.

    :cvar transport: one of :data:`~notifier.counts.TRANSPORTS`.
    :cvar format: of its publications.
    :ivar id: what the logs and the ``welcome`` call it.
    :ivar heard: set by the protocol when anything arrives; read by keep-alive.
    """

    describes: ClassVar[Operations] = MappingProxyType({})
    sink: Sink
    transport: str
    # Its bucket of commands: see notifier.limits.Pace.
    _full_at = 0.0
    format: Format = NATIVE

    def initialize(self, node: Node, policy: Policy, deflated: Format | None = None) -> None:
        """
        :param deflated: the format of those who have negotiated permessage-deflate; without it
            nobody can.
        """
        self.node = node
        self._policy = policy
        self._deflated = deflated
        self.identity = ANYBODY
        self.id = node.new_id()
        self.since_ms = node.now_ms()
        self.heard = True

    def set_default_headers(self) -> None:
        door.set_default_headers(self)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return door.decode(value, name)

    def options(self, *_: str) -> None:
        door.answer_options(self)

    # --- handshake ---

    def prepare(self) -> Awaitable[None] | None:
        ambient = door.admit(self.request, self.node.settings, self._policy)
        need = self._policy.need(self.request.method)
        if self.node.access.open or need is Level.PUBLIC:
            return None
        return self._identify(ambient=ambient)

    async def _identify(self, *, ambient: bool) -> None:
        cookie = self.node.settings.token_cookie
        credential = credential_of(self.request, self.describes, cookie=cookie, ambient=ambient)
        if credential is not None:
            self.identity = await self.node.authenticator.identify(credential)
        door.check_need(
            self._policy, self.request, self.node.access, self.identity, *self.path_args
        )

    async def get(self, *args: Any, **kwargs: Any) -> None:
        self._check_handshake()
        # Nothing is awaited from here until it is among the connections.
        self.node.connections.check_room(self.address, self.identity)
        await super().get(*args, **kwargs)

    def is_upgrade(self) -> bool:
        """Whether the request wants to become a WebSocket (RFC 6455 §4.2.1)."""
        headers = self.request.headers
        connection = headers.get("Connection", "").lower().split(",")
        return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in [
            token.strip() for token in connection
        ]

    def _check_handshake(self) -> None:
        headers = self.request.headers
        if not self.is_upgrade() or headers.get("Sec-WebSocket-Version") != "13":
            raise UpgradeRequired(
                "A WebSocket is spoken here: connect with a WebSocket client, such as "
                "new WebSocket(url), version 13."
            )
        try:
            nonce = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
        except binascii.Error:
            nonce = b""
        if len(nonce) != 16:
            raise BadParameter(
                "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455 §4.1).",
                field="Sec-WebSocket-Key",
            )

    def check_origin(self, origin: str) -> bool:
        return True  # prepare() has checked it, by the route's policy

    def get_websocket_protocol(self) -> Protocol | None:
        return adopt(super().get_websocket_protocol(), may_deflate=self._deflated is not None)

    @property
    def max_message_size(self) -> int:
        return self.node.settings.max_message_bytes + CONTROL_BYTES

    async def open(self, *args: str, **kwargs: str) -> None:
        protocol = self.ws_connection
        assert isinstance(protocol, Protocol)
        stream = protocol.stream
        assert stream is not None
        if stream.closed():
            raise StreamClosedError  # it left in the middle of the handshake
        stream.set_nodelay(True)
        format = (self._deflated if protocol.deflates else None) or self.format
        self.sink = protocol.sink = self._make_sink(outlet(stream), format)
        self.node.connections.add(self)
        logs.event(
            log,
            logging.INFO,
            "connection.opened",
            connection=self.id,
            remote=self.request.remote_ip,
            path=self.request.path,
        )

    def settled(self) -> None:
        """The protocol listens: what was needed for the handshake alone is let go of.

        Headers, arguments, the HTTP connection and Tornado's state of a request are half of what an
        idle connection would hold (ADR 0007).
        """
        asyncio.get_running_loop().call_soon(self._let_go)  # Tornado is not done with it yet

    def _let_go(self) -> None:
        request = vars(self.request)
        self.request.__dict__ = {name: request[name] for name in _OF_THE_REQUEST}
        self.__dict__ = {
            name: value for name, value in vars(self).items() if name not in _OF_THE_HANDSHAKE
        }

    def _make_sink(self, stream: Stream, format: Format) -> Sink:
        return self.node.connections.sink(stream, format, transport=self.transport)

    # --- the node's Connection ---

    @property
    def address(self) -> str:
        return str(self.request.remote_ip)

    def ask(self) -> None:
        self.sink.write(PING)

    def dead(self, reason: str) -> None:
        logs.event(log, logging.INFO, "connection.dead", connection=self.id, reason=reason)
        self.sink.abort(reason)

    def reconnect(self, after_ms: int) -> None:
        """A connection without messages of its own can't be told; it is dismissed in time."""

    def dismiss(self) -> None:
        self.close(Draining.close_code, "this node is leaving: come back")

    def end(self, refusal: NotifierError) -> None:
        self.close(refusal.close_code, refusal.message)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        """What can't be told ends the connection, which was for that alone."""
        self.end(refusal)

    # --- how fast it may send ---

    def too_soon(self) -> float:
        """Take a token for something that the client has sent; 0, or the seconds for which there
        is none."""
        pace = self.node.command_pace
        if pace is None:
            return 0.0
        wait, self._full_at = pace.take(self._full_at, self.node.clock())
        return wait

    def too_fast(self, wait: float) -> CommandsTooFast:
        limit = self.node.settings.max_commands_per_second
        return CommandsTooFast(
            f"A connection may send {limit} messages a second (setting max_commands_per_second).",
            limit=limit,
            retry_after_ms=milliseconds(wait),
        )

    async def pause(self, seconds: float) -> None:
        """Read nothing from the client for so long at least.

        :raises StreamClosedError: it has left, or was told to.
        """
        protocol = self.ws_connection
        if not isinstance(protocol, Protocol):
            raise StreamClosedError
        await protocol.pause(seconds)

    # --- the end ---

    def on_close(self) -> None:
        if not hasattr(self, "sink"):
            return  # the handshake failed
        self.sink.closed = True
        self.node.connections.remove(self)
        logs.event(
            log,
            logging.INFO,
            "connection.closed",
            connection=self.id,
            code=self.close_code,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        door.write_error(self, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if isinstance(self.ws_connection, Protocol):
            self.ws_connection.failure = INTERNAL_ERROR
        door.log_failure(self, value)
