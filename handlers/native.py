"""``/ws``: the native protocol."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers.described import Operation, Operations
from handlers.driver import Driver
from handlers.parameters import CHANNELS, PRESENCE, SINCE
from handlers.query import WANTED_ERRORS, Wanted, check_names, read_wanted
from handlers.socket import HANDSHAKE_ERRORS, UPGRADED, Socket
from notifier.errors import Draining, NotifierError
from notifier.wire.messages import PROTOCOL


class NativeSocket(Socket):
    """``GET /ws?channel=alerts&channel=builds:*[&since=…][&presence=1]``."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="connect",
            summary="A WebSocket that speaks the native protocol",
            text=f"Its messages are JSON; the subprotocol is `{PROTOCOL}`. What is wrong with the "
            "URL is answered before the handshake.",
            parameters=(CHANNELS, SINCE, PRESENCE),
            answers={101: UPGRADED},
            errors=(*WANTED_ERRORS, *HANDSHAKE_ERRORS),
            takes_ticket=True,
        )
    }
    transport = "websocket"
    _driver: Driver | None = None
    _wanted: Wanted

    async def get(self, *args: Any, **kwargs: Any) -> None:
        # What is wrong with the URL is told before the handshake, as HTTP.
        check_names(self.request.query_arguments, self.describes["GET"].query)
        self._wanted = read_wanted(self, self.node)
        await super().get(*args, **kwargs)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        # Also spoken when none is offered, or only unknown ones.
        return next((name for name in subprotocols if name in (PROTOCOL, "json")), None)

    async def open(self, *args: str, **kwargs: str) -> None:
        await super().open()
        self._driver = Driver(self.node, self.sink, connection=self.id, close=self.close)
        wanted = self._wanted
        await self._driver.open(wanted.names, wanted.start_of, presence=wanted.presence)

    async def on_message(self, message: str | bytes) -> None:
        if self._driver is None:
            return  # it ended between the message's arrival and its turn
        if wait := self.too_soon():
            self._driver.decline(message, self.too_fast(wait))
            await self.pause(wait)
        else:
            await self._driver.receive(message)
        await self.sink.drained()

    def reconnect(self, after_ms: int) -> None:
        if self._driver is not None:
            self._driver.drain(after_ms)

    def dismiss(self) -> None:
        if self._driver is not None:
            self._driver.dismiss(Draining.close_code, "this node is leaving: come back")

    def end(self, refusal: NotifierError) -> None:
        if self._driver is not None:
            self._driver.dismiss(refusal.close_code, refusal.message)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        if self._driver is not None:
            self._driver.deprive(name, refusal)

    def on_close(self) -> None:
        if self._driver is not None:
            self._driver.lost()
            self._driver = None  # it knows how to close us: apart, both are gone at once
        super().on_close()
