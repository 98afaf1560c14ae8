"""A connection that publishes."""

from __future__ import annotations

import json
import re
import selectors
from typing import TYPE_CHECKING
from urllib.parse import quote

from notifier.cli.load.connection import CONNECTING_SECONDS, Connection
from notifier.cli.load.refused import Refused, refusal_in
from notifier.cli.load.stream import marked

if TYPE_CHECKING:
    from notifier.cli.load.load import Load

_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")


class Publisher(Connection):
    """One that publishes: each request when the one before it is answered."""

    def __init__(self, load: Load, source: int, batch: int) -> None:
        super().__init__(load, selectors.EVENT_READ)
        self.source = source
        self.batch = batch
        self.number = 0
        self.busy = False

    def send(self) -> None:
        load = self.load
        if self.batch:
            texts = [self._text() for _ in range(self.batch)]
            lines = [json.dumps({"channel": load.channel, "message": text}) for text in texts]
            kind, body = "application/x-ndjson", "\n".join(lines).encode()
            path = "/notify"
        else:
            kind, body = "text/plain", self._text().encode()
            path = f"/notify/{quote(load.channel, safe='')}"
        request = (
            f"POST {load.path}{path} HTTP/1.1\r\nHost: {load.host}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n{load.authorization}\r\n"
        )
        self.busy = True
        self.socket.settimeout(CONNECTING_SECONDS)
        self.socket.sendall(request.encode() + body)
        self.socket.setblocking(False)

    def _text(self) -> str:
        text = marked(self.source, self.number, self.load.size)
        self.number += 1
        self.load.published += 1
        return text

    def on_data(self, data: bytes) -> None:
        head, end, body = data.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if not end or (size is not None and len(body) < int(size[1])):
            self.rest = data
            return
        if not head.startswith(b"HTTP/1.1 2"):
            line = head[9:80].splitlines()[0].decode(errors="replace")
            raise refusal_in(body) or Refused(f"a notification was answered with {line}")
        self.rest = b""
        self.busy = False
        self.load.on_answer(self)
