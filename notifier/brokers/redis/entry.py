"""A publication as Redis keeps it and rings it: one entry of a stream, one message of a doorbell.

::

    <time_ms> <expires_ms or 0> <size> <bytes of the id> <bytes of the key, or ->\\n<id><key><body>

Offset and epoch are not in it: the one is the entry's id in the stream, the other the log's; a
doorbell says both on a line before it.
"""

from __future__ import annotations

from notifier.notification import Draft, Position, Publication


def encode(draft: Draft) -> bytes:
    """The entry of a draft."""
    id = draft.id.encode()
    key = b"" if draft.key is None else draft.key.encode()
    head = (
        f"{draft.time_ms} {draft.expires_ms or 0} {draft.size} {len(id)} "
        f"{'-' if draft.key is None else len(key)}\n"
    )
    return b"".join((head.encode(), id, key, draft.body))


def decode(channel: str, position: Position | None, entry: bytes) -> Publication:
    """The publication of an entry."""
    head, _, rest = entry.partition(b"\n")
    time_ms, expires_ms, _, id_length, key_length = head.split(b" ")
    end_of_id = int(id_length)
    if key_length == b"-":
        key, body = None, rest[end_of_id:]
    else:
        end_of_key = end_of_id + int(key_length)
        key, body = rest[end_of_id:end_of_key].decode(), rest[end_of_key:]
    return Publication(
        channel,
        position,
        rest[:end_of_id].decode(),
        int(time_ms),
        body,
        key,
        int(expires_ms) or None,
    )
