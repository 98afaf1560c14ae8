"""An attendance as it stands in Redis: ``[count, [[connection, transport, since], …] | null]``."""

from __future__ import annotations

from pydantic_core import from_json, to_json

from notifier.attendance import Attendance
from notifier.members import Member


def encode(attendance: Attendance | None) -> bytes:
    """``None``: nobody."""
    if attendance is None:
        return b""
    members = attendance.members
    listed = None if members is None else [[m.connection, m.transport, m.since_ms] for m in members]
    return to_json([attendance.count, listed])


def decode(node: str, text: bytes) -> Attendance | None:
    """:param node: whose it is."""
    if not text:
        return None
    count, listed = from_json(text)
    if listed is None:
        return Attendance(count)
    return Attendance(
        count,
        [
            Member(connection, transport, since_ms, node)
            for connection, transport, since_ms in listed
        ],
    )
