"""Lengths of time as people write them: ``90``, ``10m``, ``1h30m``, ``500ms``."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|[smhdw])")
_LONGEST = 100  # characters; searching much longer ones for units takes time
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def parse_duration(text: str) -> float:
    """The duration in seconds; a bare number is seconds.

    :raises ValueError: with the rule it broke.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:40]!r}… is too long for a duration")
    text = text.strip().lower()
    if _NUMBER.fullmatch(text):
        return float(text)
    seconds, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        seconds += float(part[1]) * _SECONDS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError(
            f"{text[:40]!r} is not a duration: write a number of seconds, or numbers with the "
            "units ms, s, m, h, d, w, such as 10m or 1h30m"
        )
    return seconds
