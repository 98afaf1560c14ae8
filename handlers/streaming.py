"""What the endless responses have in common: admission, headers, joining, leaving."""

from __future__ import annotations

from collections.abc import Callable

from handlers.base import Handler
from handlers.following import Following
from handlers.outflow import Outflow
from handlers.query import Wanted
from notifier.auth.scopes import Scope
from notifier.channels import is_pattern
from notifier.errors import BadParameter, NotifierError
from notifier.listener import Joined
from notifier.wire import messages
from notifier.wire.chunked import LAST, bare, chunk
from notifier.wire.prepared import Format, Tailor


class Streaming(Handler):
    """``GET`` of a response that goes on until one side leaves."""

    content_type: str
    transport: str

    @property
    def chunked(self) -> bool:
        """HTTP/1.0 has no chunks: there the body ends with the connection."""
        return self.request.version != "HTTP/1.0"

    @property
    def wrap(self) -> Callable[[bytes], bytes]:
        """The transfer coding of this response."""
        return chunk if self.chunked else bare

    def check_wanted(self, wanted: Wanted) -> None:
        """While it can be told as HTTP.

        :raises BadParameter: nothing is wanted.
        :raises Unauthenticated:
        :raises Forbidden:
        """
        if not wanted.names:
            raise BadParameter("Name a channel: ?channel=alerts", field="channel")
        for name in wanted.names:
            self.check(Scope.SUBSCRIBE, name)
            if wanted.presence:
                self.check(Scope.PRESENCE, name)

    def check_room(self) -> None:
        """Is there room for it? Nothing may be awaited from here until :meth:`stream` is called.

        :raises NotifierError: there is not.
        """
        self.node.connections.check_room(str(self.request.remote_ip), self.identity)

    def set_stream_headers(self) -> None:
        self.set_header("Content-Type", self.content_type)
        self.set_header("Cache-Control", "no-store, no-transform")
        # nginx and those who follow it would collect the stream before they pass it on.
        self.set_header("X-Accel-Buffering", "no")
        if not self.chunked:
            # Tornado grants the wish to keep the connection, though it is what ends the body.
            self.request.headers["Connection"] = "close"
            self.set_header("Connection", "close")

    async def end(self) -> None:
        """Finish a body that goes on no more."""
        # Else Tornado would tell its length, and a tag, also to a HEAD, which gets no body.
        await self.flush()
        await self.finish()
        if not self.chunked:
            self._connection.close()

    async def stream(
        self,
        wanted: Wanted,
        format: Format,
        *,
        begin: bytes = b"",
        all_joined: Callable[[], bytes] = bytes,
        alive: Callable[[Outflow], bytes],
        say: Callable[[Outflow, str, bytes], None] = Outflow.say,
        on_joined: Callable[[Joined], None] = lambda joined: None,
        tailor: Tailor | None = None,
    ) -> None:
        """Answer, join what is wanted, and stay until the client leaves.

        :param begin: the first bytes of the body.
        :param all_joined: what to send before the first publication.
        :param alive: what to send when there is nothing else to send.
        :param say: how a message of the server's own is sent.
        """
        self.set_stream_headers()
        if self.request.method == "HEAD":
            await self.end()
            return
        with self.node.connections.arriving(str(self.request.remote_ip), self.identity):
            await self.flush()
            outflow = Outflow(
                self.node,
                self.detach(),
                format,
                request=self.request,
                identity=self.identity,
                transport=self.transport,
                alive=alive,
                last=LAST if self.chunked else b"",
                names=wanted.names,
                refuse=self.refuse_in_band,
                tailor=tailor,
            )
            self._log()
            self.on_finish()  # as a request it is answered, as a connection it begins
            self.node.connections.add(outflow)
        try:
            if begin:
                outflow.sink.write(begin)
            following = Following(
                self.node,
                outflow.sink,
                say=lambda kind, message: say(outflow, kind, message),
                on_joined=on_joined,
                on_refused=lambda refusal: self.refuse_in_band(outflow, refusal),
            )
            if await self._follow_all(following, wanted, outflow):
                outflow.begin(all_joined())
            await outflow.run()
        finally:
            self.node.connections.remove(outflow)
            outflow.close()

    async def _follow_all(self, following: Following, wanted: Wanted, outflow: Outflow) -> bool:
        try:
            # Who reads no answers may have been long on the way in, where nobody who revokes looks.
            self.node.authenticator.check_still(self.identity)
            for name in wanted.names:
                await following.follow(name, wanted.start_of, presence=wanted.presence)
        except NotifierError as refusal:
            self.refuse_in_band(outflow, refusal)
            return False
        return True

    def refuse_in_band(self, outflow: Outflow, refusal: NotifierError) -> None:
        """End it: a stream without one of its channels would be silently incomplete."""
        self.node.counts.errors[refusal.code] += 1
        outflow.say("error", messages.error(refusal))
        outflow.dismiss(type(refusal))


def is_single(wanted: Wanted) -> bool:
    """Whether one position says where it stands."""
    return len(wanted.names) == 1 and not is_pattern(wanted.names[0])
