"""Runs a session of the native protocol against the node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import to_json

import notifier
from handlers import publishing
from handlers.following import Following
from notifier.auth.identity import Identity
from notifier.auth.scopes import Scope
from notifier.errors import NotifierError, SubscriptionEnded, without_frames
from notifier.instants import format_instant
from notifier.node import Node
from notifier.session import (
    Authenticate,
    Close,
    Command,
    Ping,
    Publish,
    ReadHistory,
    ReadPresence,
    Send,
    Session,
    Step,
    Subscribe,
    Unsubscribe,
)
from notifier.sink import Sink
from notifier.wire import messages
from notifier.wire.messages import Ref
from notifier.wire.resume import Starts, starts
from notifier.wire.websocket import frame


class Driver:
    """One client: its session decides, the node does, the sink tells.

    :param close: closes the connection with a code and a reason.
    """

    def __init__(
        self, node: Node, sink: Sink, *, connection: str, close: Callable[[int, str], None]
    ) -> None:
        self._node = node
        self._sink = sink
        self._connection = connection
        self._close = close
        self._session = Session(longest_name=node.settings.max_channel_name_bytes)
        self._following = Following(node, sink, say=lambda kind, message: _say(sink, message))

    async def open(self, names: Iterable[str], start_of: Starts, *, presence: bool = False) -> None:
        """Greet, and subscribe to what the URL named.

        :param presence: with who joins and leaves.
        """
        interval_ms = round(self._node.settings.ping_interval * 1000)
        self._send(
            messages.welcome(
                connection=self._connection,
                ping_interval_ms=interval_ms,
                time_ms=self._node.now_ms(),
                version=notifier.__version__,
            )
        )
        for name in names:
            try:
                await self._following.follow(name, start_of, presence=presence)
            except NotifierError as refusal:
                self._refuse(refusal)

    async def receive(self, message: str | bytes) -> None:
        """Do what the client asks, before anything more is read from it."""
        await self._take(self._session.receive(message))

    def decline(self, message: str | bytes, refusal: NotifierError) -> None:
        """Tell the client that its message was not looked at."""
        for step in self._session.decline(message, refusal):
            self._node.counts.errors[refusal.code] += 1
            self._send(step.message)

    def drain(self, after_ms: int) -> None:
        """Tell the client when to come back, elsewhere."""
        for step in self._session.drain(after_ms):
            self._send(step.message)

    def dismiss(self, code: int, reason: str) -> None:
        """Close from our side; nothing is delivered after, which the sink sees to."""
        step = self._session.close(code, reason)
        self._close(step.code, step.reason)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        """Tell the client why it follows that no more."""
        self._send(messages.unsubscribed(name, code=refusal.code, reason=refusal.message))

    def lost(self) -> None:
        self._session.lost()

    @property
    def _identity(self) -> Identity:
        return self._node.identity_of(self._sink)

    async def _take(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Send(message, code):
                    if code is not None:
                        self._node.counts.errors[code] += 1
                    self._send(message)
                case Close(code, reason):
                    self.dismiss(code, reason)
                case _:
                    await self._run(step)

    async def _run(self, command: Command) -> None:
        try:
            await self._do(command)
        except NotifierError as refusal:
            self._refuse(refusal, command.ref)

    async def _do(self, command: Command) -> None:
        match command:
            case Subscribe(channel, since, ref, presence):
                start_of = starts(since, [channel], now_ms=self._node.now_ms())
                if not await self._following.follow(channel, start_of, presence=presence, ref=ref):
                    self._tell_of_the_end(channel, ref)
            case Unsubscribe(channel, ref):
                self._node.unsubscribe(self._sink, channel)
                self._send(messages.unsubscribed(channel, code=0, reason="you asked", ref=ref))
            case Publish(fields, ref):
                self._check_rate(fields)
                outcome = await publishing.publish(
                    self._node, fields, source="websocket", by=self._identity
                )
                if outcome.failure is not None and outcome.whole:
                    raise outcome.failure
                self._reply(outcome.result, ref)
                self._useful()
            case ReadHistory(channel, since, limit, ref):
                self._node.access.check(self._identity, Scope.HISTORY, channel)
                history = await self._node.history(channel, since, limit)
                self._send(messages.reply(messages.history(history), ref))
                self._useful()
            case ReadPresence(channel, ref):
                self._node.access.check(self._identity, Scope.PRESENCE, channel)
                members = await self._node.directory.presence(channel)
                self._send(messages.reply(messages.members_of_channel(members), ref))
                self._useful()
            case Authenticate(token, ref):
                identity = await self._node.authenticate(self._sink, token)
                self._reply(identity.describe(), ref)
            case Ping(ref):
                self._reply({"time": format_instant(self._node.now_ms())}, ref)

    def _useful(self) -> None:
        """It has done something that it may, whoever it is."""
        self._node.connections.strangers.useful(self._connection)

    def _tell_of_the_end(self, name: str, ref: Ref) -> None:
        """It was ended before it began. What a client asked with a ref is answered all the same."""
        if ref is not None and not self._sink.closed:
            raise SubscriptionEnded(f"The subscription to {name!r} was ended before it began.")

    def _check_rate(self, fields: object) -> None:
        """:raises PublishingTooFast:"""
        if self._node.publish_rate is None:
            return
        connection = self._node.connections.get(self._sink)
        if connection is not None:
            limit = self._node.settings.max_channels_per_notification
            publishing.check_rate(
                self._node,
                connection.identity,
                connection.address,
                source="websocket",
                count=publishing.publications_of(fields, limit),
            )

    def _refuse(self, refusal: NotifierError, ref: Ref = None) -> None:
        self._node.counts.errors[refusal.code] += 1
        self._send(messages.error(refusal, ref))
        without_frames(refusal)

    def _reply(self, result: dict[str, Any], ref: Ref) -> None:
        self._send(messages.reply(to_json(result), ref))

    def _send(self, message: bytes) -> None:
        _say(self._sink, message)


def _say(sink: Sink, message: bytes) -> None:
    sink.write(frame(message))
