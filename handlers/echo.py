"""``/echo``: what the smallest WebSocket programs talk to."""

from __future__ import annotations

from handlers.socket import Socket
from notifier.wire.websocket import Opcode, frame

GREETING = "Reçu: "


class Echo(Socket):
    """Answers each text with ``Reçu: `` before it, and each binary message with itself."""

    transport = "echo"

    async def on_message(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.sink.write(frame((GREETING + message).encode()))
        else:
            self.sink.write(frame(message, Opcode.BINARY))
        await self.sink.drained()
