"""A connection that publishes."""

from __future__ import annotations

import json
import re
import selectors
from collections.abc import Callable
from urllib.parse import quote

from notifier.cli.load.connection import Connection
from notifier.cli.load.endpoint import CONNECTING_SECONDS, Endpoint
from notifier.cli.load.refused import Refused, refusal_in
from notifier.cli.load.stream import marked
from notifier.cli.load.tally import Tally

_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")


class Publisher(Connection):
    """One that publishes: each request when the one before it is answered.

    :param source: its number.
    :param size: characters of each text.
    :param batch: texts in one request; 0: one, as the request's body.
    :param on_answer: told that it may send again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        selector: selectors.BaseSelector,
        tally: Tally,
        *,
        source: int,
        size: int,
        batch: int,
        on_answer: Callable[[Publisher], None],
    ) -> None:
        super().__init__(endpoint, selector, tally)
        self.source = source
        self.size = size
        self.batch = batch
        self.on_answer = on_answer
        self.number = 0
        self.busy = False

    def send(self) -> None:
        endpoint = self.endpoint
        if self.batch:
            texts = [self._text() for _ in range(self.batch)]
            lines = [json.dumps({"channel": endpoint.channel, "message": text}) for text in texts]
            kind, body = "application/x-ndjson", "\n".join(lines).encode()
            path = "/notify"
        else:
            kind, body = "text/plain", self._text().encode()
            path = f"/notify/{quote(endpoint.channel, safe='')}"
        head = endpoint.head("POST", path, f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        self.busy = True
        self.socket.settimeout(CONNECTING_SECONDS)
        self.socket.sendall(head + body)
        self.socket.setblocking(False)

    def _text(self) -> str:
        text = marked(self.source, self.number, self.size)
        self.number += 1
        self.tally.published += 1
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
        self.on_answer(self)
