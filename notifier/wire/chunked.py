"""HTTP/1.1's chunked coding (RFC 9112 §7.1): a body whose end is not known when it begins.

A chunk is the same for every connection, so a body made of whole chunks can be shared.
"""

from __future__ import annotations

LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk; ``data`` must not be empty, for an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def bare(data: bytes) -> bytes:
    """As HTTP/1.0 has it: the body ends when the connection does."""
    return data
