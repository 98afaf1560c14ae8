"""A node on a loop that is stepped by hand, with connections that keep what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from notifier.auth.identity import ANYBODY
from notifier.auth.rules import OPEN, Access
from notifier.channels import Pattern
from notifier.config import NamespaceSettings, Settings
from notifier.errors import NotifierError
from notifier.listener import Joined, Listener
from notifier.node import Node
from notifier.notification import Gap, Notification
from notifier.sink import Sink
from notifier.wire.prepared import Format, Tailor
from notifier.wire.resume import Latest, Since, Starts
from notifier.wire.websocket import NATIVE
from tests.account import RecordingBroker
from tests.fakefleet import FakeFleet
from tests.fakestream import FakeStream
from tests.frames import FrameParser
from tests.handloop import HandLoop
from tests.test_keepalive import FakePeer

FROM_NOW = Starts(Latest())


class FakeConnection(FakePeer):
    identity = ANYBODY
    address = "192.0.2.1"

    def __init__(self, name: str, sink: Sink, stream: FakeStream) -> None:
        super().__init__()
        self.id = name or f"c{id(self)}"
        self.sink = sink  # type: ignore[assignment]
        self.stream = stream
        self.joined: list[Joined] = []
        self.ended: list[NotifierError] = []
        self.deprived: list[tuple[str, NotifierError]] = []
        self.refused: list[tuple[str, type[NotifierError]]] = []
        self.listener = Listener(
            self.joined.append,
            lambda channel, refusal: self.refused.append((channel, type(refusal))),
        )
        self._parser = FrameParser()

    def told(self) -> list[tuple[str, str]]:
        """The publications it has got since last asked: channel and message."""
        return [(m["channel"], m.get("message", m["type"])) for m in self.messages()]

    def messages(self) -> list[dict[str, Any]]:
        """All it has got since last asked."""
        return [json.loads(f.payload) for f in self._parser.feed(self.stream.read(1 << 20))]

    def reconnect(self, after_ms: int) -> None: ...

    def dismiss(self) -> None: ...

    def end(self, refusal: NotifierError) -> None:
        self.ended.append(refusal)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        self.deprived.append((name, refusal))


class Bench:
    def __init__(self, *, max_subscriptions: int = 2, access: Access = OPEN, **more: Any) -> None:
        # Of the node's clock, in seconds.
        self.now = 0.0
        self.loop = HandLoop()
        self.loop.start()
        settings = Settings(
            max_connections=2,
            max_subscriptions=max_subscriptions,
            **{
                "max_pattern_channels": 3,
                "namespaces": {"now": NamespaceSettings(history_size=0)},
                **more,
            },
        )
        namespaces = settings.channel_namespaces()
        self.broker = RecordingBroker(
            namespaces,
            history_bytes=1 << 20,
            max_channels=10,
            idempotency_ttl=60.0,
            max_idempotency_keys=10,
            now_ms=lambda: 1000,
        )
        self.fleet = FakeFleet()
        self.node = Node(
            settings,
            self.broker,
            self.fleet,
            namespaces,
            now_ms=lambda: 1000,
            clock=lambda: self.now,
            access=access,
        )

    def connect(
        self,
        format: Format = NATIVE,
        *,
        tailor: Tailor | None = None,
        on_gap: Callable[[Gap], None] | None = None,
        name: str = "",
    ) -> FakeConnection:
        stream = FakeStream(capacity=1000)
        sink = self.node.connections.sink(
            stream, format, transport="websocket", tailor=tailor, on_gap=on_gap
        )
        connection = FakeConnection(name, sink, stream)
        self.node.connections.add(connection)
        return connection

    def subscribe(self, connection: FakeConnection, channel: str, since: Since) -> Any:
        return self.loop.create_task(
            self.node.subscribe(connection.sink, channel, since, connection.listener)
        )

    def follow(
        self,
        connection: FakeConnection,
        pattern: str,
        start_of: Starts = FROM_NOW,
    ) -> Any:
        return self.loop.create_task(
            self.node.subscribe_pattern(
                connection.sink, Pattern.parse(pattern), start_of, connection.listener
            )
        )

    def publish(self, message: str, channel: str = "a", **more: Any) -> Any:
        notification = Notification.parse({"message": message})
        return self.loop.complete(self.node.publish(notification, channel, producer="p", **more))

    def forgotten(self) -> bool:
        self.loop.run()
        backfill = self.node._backfill
        return not (self.node._hub.feeds or backfill._opened or backfill._warmed)

    def end(self) -> None:
        self.loop.run()
        self.loop.stop()
