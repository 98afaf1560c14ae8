"""``/ws``: the native protocol."""

from __future__ import annotations

from typing import Any

from handlers.driver import Driver
from handlers.socket import Socket
from notifier.channels import check_channel
from notifier.errors import Draining, TooManySubscriptions
from notifier.notification import unknown_field
from notifier.wire.messages import PROTOCOL
from notifier.wire.resume import Since, starts

_PARAMETERS = frozenset({"channel", "since"})


class NativeSocket(Socket):
    """``GET /ws?channel=alerts&channel=builds[&since=…]``."""

    _driver: Driver | None = None

    async def get(self, *args: Any, **kwargs: Any) -> None:
        # What is wrong with the URL is told before the handshake, as HTTP.
        self._wanted = self._read_query()
        await super().get(*args, **kwargs)

    def _read_query(self) -> dict[str, Since]:
        for name in self.request.query_arguments:
            if name not in _PARAMETERS:
                raise unknown_field(name, name, _PARAMETERS)
        names = dict.fromkeys(self.get_query_arguments("channel"))
        channels = [check_channel(name) for name in names]
        limit = self.node.settings.max_subscriptions
        if len(channels) > limit:
            raise TooManySubscriptions(
                f"A connection may have {limit} subscriptions (setting max_subscriptions).",
                limit=limit,
            )
        since = self.get_query_argument("since", None)
        return starts(since, channels, now_ms=self.node.now_ms())

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        # Also spoken when none is offered, or only unknown ones.
        return next((name for name in subprotocols if name in (PROTOCOL, "json")), None)

    async def open(self, *args: str, **kwargs: str) -> None:
        await super().open()
        self._driver = Driver(self.node, self.sink, connection=self.id, close=self.close)
        await self._driver.open(self._wanted)

    async def on_message(self, message: str | bytes) -> None:
        assert self._driver is not None
        await self._driver.receive(message)
        await self.sink.drained()

    def reconnect(self, after_ms: int) -> None:
        if self._driver is not None:
            self._driver.drain(after_ms)

    def dismiss(self) -> None:
        if self._driver is not None:
            self._driver.dismiss(Draining.close_code, "this node is leaving: come back")

    def on_close(self) -> None:
        if self._driver is not None:
            self._driver.lost()
        super().on_close()
