"""A body's lines, cut from it piece by piece as it comes in."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


# One line that is not blank: its number, from 1, blank lines counted; and its text without the
# line's end, ``None`` when it is longer than allowed.
Line = tuple[int, bytes | None]


class LineSplitter:
    """Cuts at ``\\n`` and ``\\r\\n``; a byte order mark before the first line is dropped.

    However the body is cut into pieces, the lines are the same. It holds one line at most, and of
    one over the limit nothing.

    :param limit: bytes a line may have, its end not counted.
    :ivar number: lines that have come to their end.
    """

    def __init__(self, *, limit: int) -> None:
        self.number = 0
        self._limit = limit
        self._partial = bytearray()
        self._too_long = False
        # The first bytes, while they may still become a byte order mark.
        self._start: bytes | None = b""

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in this piece."""
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return []
            self._start = None
            data = data.removeprefix(_BOM)
        *ended, rest = data.split(b"\n")
        lines: list[Line] = []
        for text in ended:
            self._end_line(text, lines)
        self._keep(rest)
        return lines

    def end(self) -> list[Line]:
        """The last line, where the body did not end with a line's end."""
        self._keep(self._start or b"")
        self._start = None
        lines: list[Line] = []
        if self._partial or self._too_long:
            self._end_line(b"", lines)
        return lines

    def _keep(self, text: bytes) -> None:
        if self._too_long:
            return
        self._partial += text
        # One more: it may be the \r of the line's end.
        if len(self._partial) > self._limit + 1:
            self._too_long = True
            self._partial.clear()

    def _end_line(self, text: bytes, lines: list[Line]) -> None:
        self.number += 1
        if self._partial or self._too_long:
            self._keep(text)
            text = bytes(self._partial)
            self._partial.clear()
        text = text.removesuffix(b"\r")
        if self._too_long or len(text) > self._limit:
            self._too_long = False
            lines.append((self.number, None))
        elif text.strip(_BLANK):
            lines.append((self.number, text))
