"""Sizes as people write them: ``64MiB``, ``1.5GB``, ``4096``."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)")


def parse_size(text: str) -> int:
    """The size in bytes; a bare number is bytes.

    :raises ValueError: with the rule it broke.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError(
            f"{text[:40]!r} is not a size: write a number of bytes, or one with a unit "
            "(KiB, MiB, GiB; KB, MB, GB), such as 64MiB"
        )
    size = float(match[1]) * _UNITS[match[2]]
    if size != int(size):
        raise ValueError(f"{text[:40]!r} is not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """The shortest text that :func:`parse_size` reads as this size."""
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
