"""``/echo``: what the smallest WebSocket programs talk to."""

from __future__ import annotations

from typing import ClassVar

from handlers.described import Operation, Operations
from handlers.socket import HANDSHAKE_ERRORS, UPGRADED, Socket
from notifier.wire.websocket import Opcode, frame

GREETING = "Reçu: "


class Echo(Socket):
    """Answers each text with ``Reçu: `` before it, and each binary message with itself."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="echo",
            summary="A WebSocket that answers what it is sent",
            text=f"Each text with `{GREETING}` before it, each binary message with itself.",
            answers={101: UPGRADED},
            errors=HANDSHAKE_ERRORS,
        )
    }
    transport = "echo"

    async def on_message(self, message: str | bytes) -> None:
        while wait := self.too_soon():
            await self.pause(wait)  # it has no word for a refusal
        if isinstance(message, str):
            self.sink.write(frame((GREETING + message).encode()))
        else:
            self.sink.write(frame(message, Opcode.BINARY))
        await self.sink.drained()
