"""One JSON object per line (``application/x-ndjson``), for programs that read lines."""

from __future__ import annotations

from collections.abc import Callable

from notifier.wire import messages
from notifier.wire.chunked import bare, chunk
from notifier.wire.prepared import Format

CONTENT_TYPE = "application/x-ndjson"


def line(message: bytes) -> bytes:
    """JSON as this server writes it holds no line break of its own."""
    return message + b"\n"


def _format(name: str, wrap: Callable[[bytes], bytes]) -> Format:
    return Format(
        name,
        lambda item: wrap(line(messages.item(item))),
        lambda kind, message: wrap(line(message)),
    )


LINES = _format("lines", chunk)
LINES_BARE = _format("lines-bare", bare)
