"""What stands for a body that will never be whole."""

from __future__ import annotations

from collections.abc import Iterator

from tornado.iostream import StreamClosedError


class CutOff:
    """In place of Tornado's future of a body, which would keep the exception it failed with, that
    the frame that waited, and that the request with the future (ADR 0011).
    """

    def done(self) -> bool:
        return True

    def __await__(self) -> Iterator[None]:
        raise StreamClosedError
