"""``/raw/<channel>``: payloads only, both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers.described import Operation, Operations, Parameter
from handlers.following import Following
from handlers.parameters import CHANNEL, SINCE
from handlers.query import WANTED_ERRORS, Wanted, check_names, read_switch, read_wanted
from handlers.socket import HANDSHAKE_ERRORS, UPGRADED, Socket
from notifier.auth.scopes import Scope
from notifier.channels import is_pattern
from notifier.errors import BadChannel, NotifierError
from notifier.listener import Joined
from notifier.notification import Gap, Notification
from notifier.sink import Sink, Stream
from notifier.wire.prepared import Format
from notifier.wire.raw import RAW, WithoutEcho

# Something was lost to this client: come back. And: what it asked for is lost, so don't, like this.
GAP = 4001
GAP_AT_START = 4501


class RawSocket(Socket):
    """What is sent is published to the channel; what is published there arrives verbatim.

    There are no messages of our own: what has to be said closes the connection.
    """

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="connect_raw",
            summary="A WebSocket of payloads only, both ways",
            text="What is sent is published to the channel; what is published there arrives "
            "verbatim.",
            parameters=(
                CHANNEL,
                SINCE,
                Parameter(
                    name="echo",
                    text="`0`: what this connection sends does not come back to it.",
                    shape={"type": "string", "enum": ["0", "1"], "default": "1"},
                ),
            ),
            answers={101: UPGRADED},
            errors=(*WANTED_ERRORS, *HANDSHAKE_ERRORS),
            takes_ticket=True,
        )
    }
    transport = "raw"
    format = RAW
    _wanted: Wanted
    _name: str
    _without_echo: WithoutEcho | None = None

    async def get(self, channel: str, **kwargs: Any) -> None:
        check_names(self.request.query_arguments, self.describes["GET"].query)
        self._wanted = read_wanted(self, self.node, names=[channel])
        (self._name,) = self._wanted.names
        if not read_switch("echo", self.get_query_argument("echo", "1")):
            self._without_echo = WithoutEcho()
        await super().get(**kwargs)

    def _make_sink(self, stream: Stream, format: Format) -> Sink:
        return self.node.connections.sink(
            stream,
            format,
            transport=self.transport,
            tailor=self._without_echo,
            on_gap=self._on_gap,
        )

    async def open(self, *args: str, **kwargs: str) -> None:
        await super().open()
        following = Following(
            self.node,
            self.sink,
            say=lambda kind, message: None,
            on_joined=self._on_joined,
            on_refused=lambda refusal: self.close(refusal.close_code, refusal.message),
        )
        try:
            await following.follow(self._name, self._wanted.start_of)
        except NotifierError as refusal:
            self.close(refusal.close_code, refusal.message)

    def _on_joined(self, joined: Joined) -> None:
        if joined.gap is not None:
            self.close(GAP_AT_START, f"gap: not all of it is there any more ({joined.gap.before})")

    def _on_gap(self, gap: Gap) -> None:
        self.close(GAP, f"gap: what came before {gap.before} is lost")

    async def on_message(self, message: str | bytes) -> None:
        try:
            if wait := self.too_soon():
                raise self.too_fast(wait)
            await self._publish(message)
        except NotifierError as refusal:
            # What it has sent behind that is dropped: published, it would come after a hole.
            self.node.counts.intakes["raw"].refuse(refusal)
            self.close(refusal.close_code, refusal.message)
        await self.sink.drained()

    async def _publish(self, message: str | bytes) -> None:
        if is_pattern(self._name):
            raise BadChannel(
                f"{self._name!r} is a pattern: connect to one channel to publish.", field="channel"
            )
        notification = Notification.of_payload(message)
        id = self.node.new_id()
        began = self.node.clock()
        if self._without_echo is not None:
            self._without_echo.published(id)
        try:
            self.node.access.check(self.identity, Scope.PUBLISH, self._name)
            if self.node.publish_rate is not None:
                self.node.publish_rate.take(self.identity, self.address)
            await self.node.publish(
                notification, self._name, producer=self.identity.producer, id=id
            )
        except NotifierError:
            if self._without_echo is not None:
                self._without_echo.failed(id)
            raise
        intake = self.node.counts.intakes["raw"]
        intake.stored += 1
        intake.seconds.observe(self.node.clock() - began)
