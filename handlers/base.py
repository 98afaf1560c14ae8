"""The plain HTTP handler: admission, bounded bodies, errors that explain themselves."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic_core import to_json
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from handlers import door
from handlers.body import check_size
from handlers.credential import credential_of
from handlers.cutoff import CutOff
from handlers.described import Operations
from handlers.linger import LINGER_BYTES, linger
from handlers.policy import Level, Policy
from notifier.auth.identity import ANYBODY
from notifier.auth.scopes import Scope
from notifier.errors import NotifierError, without_frames
from notifier.node import Node


@stream_request_body
class Handler(RequestHandler):
    """Bodies are streamed, so that one over the limit is refused before it is read."""

    # What can be done here, by method.
    describes: ClassVar[Operations] = MappingProxyType({})

    # Whether there is any use for a body; if not, it is read away.
    takes_body = False
    # Whether the body may take no longer than the setting body_timeout.
    timed_body = True

    # What is to be audited, by method; one of notifier.audit.ACTS.
    acts: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # What is told of it there; and of any refusal, its code.
    facts: Mapping[str, object] = MappingProxyType({})
    refusal_code: int | None = None

    # It seldom waits, and never under a timeout: it needs no task before it does (whole.py).
    prompt = False

    def initialize(self, node: Node, policy: Policy) -> None:
        self.node = node
        self._policy = policy
        # Tornado's, for templates; it refers to us, so we would not be gone when done (ADR 0011).
        self.ui = None  # type: ignore[assignment]
        self.body = bytearray()
        self._dropped = 0
        # The refusal has been sent, though the body is still being read away.
        self.refused = False
        self._admitted = False
        self._refusal: NotifierError | None = None
        self.identity = ANYBODY
        # Whether what a browser adds by itself says who asks.
        self._ambient = False
        # What it takes waiting to know whose it is.
        self._credential: str | None = None
        # Counted among the requests that a node waits for before it stops.
        self._counted = False

    def clear(self) -> None:
        # Tornado's makes headers that we don't want, and the date for each answer.
        self._headers = door.default_headers()
        self._write_buffer = []
        self.set_status(200)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        return door.decode(value, name)

    @staticmethod
    def reads_as_it_comes(request: HTTPServerRequest) -> bool:
        """Whether it works on the body of such a request while it comes in, however short."""
        return False

    def admit(self) -> bool:
        """Look at the head; whether :meth:`prepare` has no refusal to send."""
        self._admitted = True
        self._counted = True
        self.node.requests.began()
        try:
            self._ambient = door.admit(self.request, self.node.settings, self._policy)
            self._check_request()
            self._check_access()
        except NotifierError as error:
            self._refusal = without_frames(error)
        return self._refusal is None

    def _check_access(self) -> None:
        """Who asks, and may it? Where that takes waiting, :meth:`prepare` does."""
        need = self._policy.need(self.request.method)
        if self.node.access.open or need is Level.PUBLIC:
            return
        credential = credential_of(
            self.request,
            self.describes,
            cookie=self.node.settings.token_cookie,
            ambient=self._ambient,
        )
        if credential is not None:
            identity = self.node.authenticator.at_once(credential)
            if identity is None:
                self._credential = credential
                self.prompt = False
                return
            self.identity = identity
        self._check_need()

    def _check_need(self) -> None:
        door.check_need(
            self._policy, self.request, self.node.access, self.identity, *self.path_args
        )

    async def _identify(self, credential: str) -> None:
        try:
            # A ticket is for what GET does; HEAD only looks at what that would say.
            spend = self.request.method != "HEAD"
            self.identity = await self.node.authenticator.identify(credential, spend=spend)
            self._check_need()
        except NotifierError as error:
            await self._refuse_unread(error)
        else:
            self.begin_body()

    def check(self, scope: Scope, channel: str) -> None:
        """See that whoever asks may do that on a channel, or a pattern, that is valid.

        :raises Unauthenticated:
        :raises Forbidden:
        """
        self.node.access.check(self.identity, scope, channel)

    def prepare(self) -> Awaitable[None] | None:
        if not self._admitted:
            # We count ourselves: Tornado answers an over-long body with a bare 400.
            self._connection.set_max_body_size(sys.maxsize)
            self.admit()
        if self._refusal is not None:
            return self._refuse_unread(self._refusal)
        if self._credential is not None:
            return self._identify(self._credential)
        if self.identity.kind != "anonymous":
            # It was looked at with the head, and the body may have taken its time.
            self.node.authenticator.check_still(self.identity)
        self.begin_body()
        return None

    def begin_body(self) -> None:
        """It is let in; what is read of its body from now on is for us."""

    def _check_request(self) -> None:
        """What can be refused before the body is read."""
        declared = self.request.headers.get("Content-Length", "0")
        if declared.isascii() and declared.isdigit():
            self._check_size(int(declared.lstrip("0")[:15] or "0"))

    def _check_size(self, size: int) -> None:
        check_size(size, limit=self.node.settings.max_body_bytes)

    async def _refuse_unread(self, error: NotifierError) -> None:
        """Answer before the body is read, so that a client still sending gets to see it."""
        headers = self.request.headers
        self._send_refusal(error)
        if headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in headers:
            self.finish()  # nothing is on its way that could turn our close into a reset
            return
        gone = False
        try:
            await self.flush()
        except StreamClosedError:
            gone = True  # for Tornado that would be an error of ours
        self._log()
        self._finished = True  # for Tornado: no method is to be called
        self.on_finish()
        stream = self.detach()
        if not gone:
            await linger(stream)

    def _send_refusal(self, error: NotifierError) -> None:
        body = door.refuse(self, error)
        self.set_header("Connection", "close")
        self.set_header("Content-Length", str(len(body)))
        if self.request.method != "HEAD":
            self.write(body)

    async def data_received(self, chunk: bytes) -> None:
        """A piece of the body; only a chunked one can turn out too long here."""
        if self.refused or not self.takes_body:
            self._dropped += len(chunk)
            if self._dropped > LINGER_BYTES:
                self._connection.close()
            return
        self.body += chunk
        try:
            self._check_size(len(self.body))
        except NotifierError as error:
            self.refused = True
            self.body.clear()
            self._send_refusal(error)
            await self.flush()

    def on_finish(self) -> None:
        if self._counted:
            self._counted = False
            self.node.requests.ended()

    def on_connection_close(self) -> None:
        unfinished = not self.request._body_future.done()
        super().on_connection_close()
        if unfinished:
            # What waits for it is told by an exception that refers to it, and by that to all of us.
            self.request._body_future = CutOff()  # type: ignore[assignment]
            self.body = bytearray()
        self.on_finish()

    def hang_up(self) -> None:
        """End after a refusal: all of the body has been read away."""
        self.finish()
        self._connection.close()

    def answer(self, value: object, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.answer_json(to_json(value))

    def answer_json(self, text: bytes) -> None:
        """Finish with what is JSON already."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        if self.node.connections.draining:
            self.set_header("Connection", "close")  # the next one goes to another node
        self.finish(text + b"\n")

    def options(self, *_: str) -> None:
        door.answer_options(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if self.request.method not in self.SUPPORTED_METHODS:
            # Such as CONNECT: Tornado refuses it before the body is read, and hangs up then.
            door.part(self)
        door.write_error(self, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        door.log_failure(self, value)

    @property
    def _connection(self) -> HTTP1Connection:
        assert isinstance(self.request.connection, HTTP1Connection)
        return self.request.connection


class NotFound(Handler):
    """Where no route leads."""

    def _check_request(self) -> None:
        raise door.nothing_at(self.request.path)


class WholeServer(Handler):
    """``OPTIONS *``: what can be asked of the server at all (RFC 9110 §9.3.7).

    :param methods: those of all its routes.
    """

    def initialize(  # type: ignore[override]
        self, node: Node, policy: Policy, methods: tuple[str, ...]
    ) -> None:
        super().initialize(node, policy)
        self._methods = methods

    def options(self, *_: str) -> None:
        door.answer_options(self, self._methods)


class NotAllowed(Handler):
    """Where a route leads that does not have the method; its body is of no interest either.

    :param target: the route's own handler.
    """

    def initialize(  # type: ignore[override]
        self, node: Node, policy: Policy, target: type[RequestHandler]
    ) -> None:
        super().initialize(node, policy)
        self._target = target

    def _check_request(self) -> None:
        raise door.not_allowed(self.request.method, self._target)
