"""What is published, and comes back on every socket."""

from __future__ import annotations

import re
import time

_MARK = re.compile(rb"@(\d+)\.(\d{8})\.(\d{16})\.(x*)\.")


def marked(source: int, number: int, size: int) -> str:
    """A text of so many characters that says whose it is, which, and when it was made."""
    head = f"@{source}.{number:08}.{time.monotonic_ns():016}."
    return head + "x" * (size - len(head) - 1) + "."


class Stream:
    """What every socket gets, in whole messages. ``ends`` are where they end in it, ``times`` when
    they were published."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends: list[int] = []
        self.times: list[float] = []
        self.wrong = 0
        self._next: dict[int, int] = {}

    def append(self, frame: bytes) -> None:
        self.data += frame
        self.ends.append(len(self.data))
        found = _MARK.search(frame)
        if found is None:
            self.wrong += 1
            self.times.append(time.monotonic())
            return
        source, number = int(found[1]), int(found[2])
        self.wrong += number != self._next.get(source, 0)
        self._next[source] = number + 1
        self.times.append(int(found[3]) / 1e9)
