"""Server-sent events (WHATWG HTML §9.2), as bytes of a response's body.

A publication is an event without a name, so that ``onmessage`` gets it; its data is the very JSON
that a WebSocket carries. On one channel its ``id`` is the position, and the bytes are the same for
everyone. On several, a place is a position in each of them: the ``id`` is a resume token, made for
each connection (:class:`Bookmark`) and put into the event's own block, for a token in a block of
its own could be lost between the two, and its event come twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from notifier.errors import TokenTooLong
from notifier.notification import Gap, Position, Publication
from notifier.wire import messages
from notifier.wire.chunked import bare, chunk
from notifier.wire.prepared import Format, Prepared
from notifier.wire.resume import MAX_TOKEN_BYTES, ResumeToken, part_of, token_of

CONTENT_TYPE = "text/event-stream; charset=utf-8"
# A comment, for clients that know what it is for, and an event, for scripts in a browser: they
# can't see comments, nor whether their stream still lives.
KEEPALIVE = b':\nevent: keepalive\ndata: {"type":"keepalive"}\n\n'

# Room that is kept in a resume token for offsets to grow.
OFFSET_DIGITS = 12
# About what is made for one connection at once: the tokens of many channels are long.
FIT_BYTES = 1 << 17

# EventSource has an event called error for its own ends, so ours is named otherwise.
_NAMES = {"error": "refused"}


def event(data: bytes, *, name: str = "", id: str = "") -> bytes:
    """One event; ``data`` must be a single line, as JSON is."""
    head = f"id: {id}\n" if id else ""
    if name:
        head += f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def place(id: str) -> bytes:
    """What a client comes back with from now on; fires no event."""
    return b"id: %b\n\n" % id.encode()


def retry(milliseconds: int) -> bytes:
    """How long a client waits before it comes back."""
    return b"retry: %d\n\n" % milliseconds


def say(kind: str, message: bytes, *, id: str = "") -> bytes:
    """A message of the server's own as an event."""
    return event(message, name=_NAMES.get(kind, kind), id=id)


def _encode(item: Publication | Gap, *, with_id: bool) -> bytes:
    id = str(item.position) if with_id and item.position is not None else ""
    name = "gap" if isinstance(item, Gap) else ""
    return event(messages.item(item), name=name, id=id)


def _format(name: str, wrap: Callable[[bytes], bytes], *, with_id: bool) -> Format:
    return Format(
        name,
        lambda item: wrap(_encode(item, with_id=with_id)),
        lambda kind, message: wrap(say(kind, message)),
    )


# With ids for one channel, without for several; in chunks, or bare for HTTP/1.0.
EVENTS = _format("events", chunk, with_id=True)
EVENTS_BARE = _format("events-bare", bare, with_id=True)
SHARED_EVENTS = _format("events-of-several", chunk, with_id=False)
SHARED_EVENTS_BARE = _format("events-of-several-bare", bare, with_id=False)


class Bookmark:
    """Where one connection is in all of its channels; the :class:`Tailor` that tells it so.

    :param wrap: the transfer coding of its connection.
    :param now_ms: milliseconds since 1970.
    """

    def __init__(self, wrap: Callable[[bytes], bytes], now_ms: Callable[[], int]) -> None:
        self._wrap = wrap
        self._now_ms = now_ms
        # Each channel's part of the token, so that an event makes but its own anew.
        self._parts: dict[str, str] = {}
        # Bytes of the longest token they can come to.
        self._longest = len(str(ResumeToken({}, 10**13)))

    @property
    def token(self) -> str:
        """The resume token of now."""
        return token_of(self._parts.values(), self._now_ms())

    def add(self, channel: str, position: Position | None) -> None:
        """The channel is delivered from the position on.

        :raises TokenTooLong: with it, the token could not be sent back.
        """
        if position is None:
            return
        if channel not in self._parts:
            reserved = len(part_of(channel, position.epoch + ":").encode()) + OFFSET_DIGITS + 1
            if self._longest + reserved > MAX_TOKEN_BYTES:
                raise TokenTooLong(
                    f"The resume token of {len(self._parts) + 1} channels can come to over "
                    f"{MAX_TOKEN_BYTES} bytes (room is kept for their offsets to grow): spread "
                    "them over several streams, or use a WebSocket.",
                    limit=MAX_TOKEN_BYTES,
                )
            self._longest += reserved
        self._parts[channel] = part_of(channel, position)

    def fit(self, items: Sequence[Prepared], format: Format) -> list[bytes]:
        parts = dict(self._parts)
        frames: list[bytes] = []
        size = 0
        for prepared in items:
            if size > FIT_BYTES:
                break
            data = prepared.encoded(format)
            position = prepared.item.position
            if position is not None:
                parts[prepared.item.channel] = part_of(prepared.item.channel, position)
                token = token_of(parts.values(), self._now_ms())
                data = self._wrap(b"id: %b\n" % token.encode()) + data
            frames.append(data)
            size += len(data)
        return frames

    def sent(self, items: Sequence[Prepared]) -> None:
        for prepared in items:
            if prepared.item.position is not None:
                channel = prepared.item.channel
                self._parts[channel] = part_of(channel, prepared.item.position)
