"""Payloads only, as WebSocket messages: what was sent is what arrives.

There is no room for messages of our own: a gap ends the connection.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from pydantic_core import from_json

from notifier.notification import Gap, Publication
from notifier.wire import messages
from notifier.wire.prepared import Format, Prepared
from notifier.wire.websocket import Framing, Opcode, frame


def payload(publication: Publication) -> tuple[int, bytes]:
    """Opcode and payload: bytes as they were sent, else the text, else the whole as JSON."""
    fields = from_json(b"{" + publication.body + b"}")
    if "data_base64" in fields:
        return Opcode.BINARY, base64.b64decode(fields["data_base64"])
    if "message" in fields:
        return Opcode.TEXT, fields["message"].encode()
    return Opcode.TEXT, b"{" + messages.members(publication) + b"}"


def raw(name: str, framing: Framing) -> Format:
    """Payloads only, framed so."""

    def encode(item: Publication | Gap) -> bytes:
        assert isinstance(item, Publication), "a gap has no payload"
        opcode, data = payload(item)
        return framing(data, opcode)

    return Format(name, encode, _say, tells_gaps=False)


def _say(kind: str, message: bytes) -> bytes:
    return b""


RAW = raw("raw", frame)


class WithoutEcho:
    """Leaves out what the connection has published itself; a :class:`Tailor`."""

    def __init__(self) -> None:
        self._own: set[str] = set()

    def published(self, id: str) -> None:
        """The next publication with this id is its own."""
        self._own.add(id)

    def failed(self, id: str) -> None:
        """It was not published after all."""
        self._own.discard(id)

    def fit(self, items: Sequence[Prepared], format: Format) -> list[bytes]:
        return [b"" if self._is_own(prepared) else prepared.encoded(format) for prepared in items]

    def sent(self, items: Sequence[Prepared]) -> None:
        for prepared in items:
            if isinstance(prepared.item, Publication):
                self._own.discard(prepared.item.id)

    def _is_own(self, prepared: Prepared) -> bool:
        return isinstance(prepared.item, Publication) and prepared.item.id in self._own
