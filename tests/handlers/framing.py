"""HTTP/1.1's framing read to the letter (RFC 9112), to judge a server by; and its answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_START = re.compile(rf"({_TOKEN}) (\S+) (HTTP/1\.[01])".encode())
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*([\x20-\x7e\x80-\xff\t]*)".encode())
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n]*)?\r\n")


@dataclass(frozen=True, slots=True)
class Whole:
    """A request that is there beyond doubt, to its last byte."""

    method: str
    target: str


def whole_requests(data: bytes) -> list[Whole]:
    """Those at the start of what a client sends, up to the first that leaves any doubt.

    Doubt is whatever §6.3 calls an error, or leaves to the server, about where a body ends.
    """
    found: list[Whole] = []
    while True:
        data = data.lstrip(b"\r\n")
        head_end = _HEAD_END.search(data)
        if head_end is None:
            return found
        first, *lines = re.split(rb"\r?\n", data[: head_end.start()])
        start = _START.fullmatch(first)
        fields = [_FIELD.fullmatch(line) for line in lines]
        if start is None or not all(fields):
            return found
        body = data[head_end.end() :]
        size = _body_size([(f[1].lower(), f[2].strip()) for f in fields if f], start[3], body)
        if size is None:
            return found
        found.append(Whole(start[1].decode(), start[2].decode("latin-1")))
        data = body[size:]


def _body_size(fields: list[tuple[bytes, bytes]], version: bytes, rest: bytes) -> int | None:
    """Bytes of the body at the start of the rest; None where that is in doubt, or not all there."""
    coding = [value for name, value in fields if name == b"transfer-encoding"]
    length = [value for name, value in fields if name == b"content-length"]
    if coding:
        if length or version == b"HTTP/1.0" or b",".join(coding).lower() != b"chunked":
            return None
        return _chunked_size(rest)
    if not length:
        return 0
    sizes = {part.strip() for value in length for part in value.split(b",")}
    (size, *others) = sizes
    if others or not re.fullmatch(rb"[0-9]{1,15}", size) or int(size) > len(rest):
        return None
    return int(size)


def _chunked_size(rest: bytes) -> int | None:
    at = 0
    while True:
        head = _CHUNK.match(rest, at)
        if head is None:
            return None
        size = int(head[1], 16)
        at = head.end()
        if size == 0:
            break
        if rest[at + size : at + size + 2] != b"\r\n":
            return None
        at += size + 2
    if rest.startswith(b"\r\n", at):
        return at + 2
    end = rest.find(b"\r\n\r\n", at)  # trailers
    return None if end < 0 else end + 4


def statuses(answers: bytes) -> list[int]:
    """The statuses of a server's answers, each of which is whole but perhaps the last.

    :raises AssertionError: what the server sent is no HTTP.
    """
    found: list[int] = []
    while answers:
        head, separator, answers = answers.partition(b"\r\n\r\n")
        if not separator:
            return found  # cut off by the end of the connection
        first, *lines = head.decode("latin-1").split("\r\n")
        start = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) [^\r\n]*", first)
        assert start is not None, first
        fields = dict(line.lower().split(": ", 1) for line in lines)
        if start[1] == "100":
            continue  # what was expected, ahead of the answer
        found.append(int(start[1]))
        if found[-1] in (101, 204, 304):
            continue
        assert "transfer-encoding" not in fields, "nothing that is asked for here has no end"
        if "content-length" not in fields:
            assert answers == b"", "a refusal without a length ends with its connection"
            continue
        answers = answers[int(fields["content-length"]) :]
    return found
