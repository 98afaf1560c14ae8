"""Answers that end the measurement."""

from __future__ import annotations

import json


class Refused(Exception):
    """The server answered, but not as it should.

    :ivar code: the number of its refusal, if it told one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def refusal_in(text: bytes) -> Refused | None:
    """The server's own, in a body or in a message on a WebSocket."""
    try:
        told = json.loads(text[text.index(b'{"') :])  # a frame's length may look like a brace
        error = told.get("error", told)
        return Refused(str(error["message"]), int(error["code"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
