"""An attendance as it stands in Redis: ``[count, [[connection, transport, since], …] | null]``.

A member with a token has two more: the user and its info, which is JSON in a string, or null.
"""

from __future__ import annotations

from pydantic_core import from_json, to_json

from notifier.attendance import Attendance
from notifier.members import Member


def encode(attendance: Attendance | None) -> bytes:
    """``None``: nobody."""
    if attendance is None:
        return b""
    members = attendance.members
    listed = None if members is None else [_member(member) for member in members]
    return to_json([attendance.count, listed])


def _member(member: Member) -> list[object]:
    told: list[object] = [member.connection, member.transport, member.since_ms]
    if member.user is None and member.info is None:
        return told
    return [*told, member.user, None if member.info is None else member.info.decode()]


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
            Member(connection, transport, since_ms, node, *_identity(*who))
            for connection, transport, since_ms, *who in listed
        ],
    )


def _identity(user: str | None = None, info: str | None = None) -> tuple[str | None, bytes | None]:
    return user, None if info is None else info.encode()
