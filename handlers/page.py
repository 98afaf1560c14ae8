"""``/``: the page; a WebSocket that connects here gets the echo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from handlers import door
from handlers.described import TEXT, Answer, Operation, Operations
from handlers.echo import Echo
from handlers.policy import Policy
from handlers.socket import HANDSHAKE_ERRORS, UPGRADED
from notifier.node import Node


class Page(Echo):
    """The smallest tutorial clients connect to ``/``: they find an echo, a browser the page."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="page",
            summary="The page; for a WebSocket, the echo",
            answers={101: UPGRADED, 200: Answer("The page.", {"text/html": TEXT})},
            errors=HANDSHAKE_ERRORS,
        )
    }

    def initialize(self, node: Node, policy: Policy, index: Path) -> None:  # type: ignore[override]
        super().initialize(node, policy)
        self._index = index

    def prepare(self) -> None:
        if not self.is_upgrade():  # the echo is for any site, the page is not
            super().prepare()

    async def get(self, *args: Any, **kwargs: Any) -> None:
        if self.is_upgrade():
            await super().get(*args, **kwargs)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", door.CONTENT_SECURITY_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Permissions-Policy", door.PERMISSIONS_POLICY)
        self.finish(self._index.read_bytes())

    async def head(self, *args: Any, **kwargs: Any) -> None:
        await self.get(*args, **kwargs)
