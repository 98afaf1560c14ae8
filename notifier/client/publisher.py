"""Publishing many: streamed, in order, each stored once."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any

from notifier.client.answers import Failure, Summary
from notifier.client.buffer import Buffer
from notifier.client.failures import UNREADABLE, BadAnswer, Interrupted, refusal
from notifier.client.requests import Requests

# Of one request. They are kept until it is answered, so that it can be sent again.
_MAX_LINES = 500
_MAX_BYTES = 512 * 1024
_MAX_FAILURES = 100
_BREATH = 100  # lines from one that doesn't wait, before others have a turn

Line = Mapping[str, Any] | str | bytes
Lines = Iterable[Line] | AsyncIterable[Line]


def new_id() -> str:
    """An id for a notification, so that sending it again stores it once."""
    return secrets.token_urlsafe(12)


class Publisher:
    """One stream of notifications, in requests of as much as was there when the one before was
    answered: a trickle is sent at once, a flood in large pieces. Memory is bounded by two such
    pieces, and a source that is faster than the server waits."""

    def __init__(
        self, requests: Requests, *, on_progress: Callable[[Summary], object] | None
    ) -> None:
        self._requests = requests
        self._on_progress = on_progress
        self._summary = Summary()
        self._buffer: Buffer[tuple[int, bytes]] = Buffer(entries=_MAX_LINES, size=_MAX_BYTES)

    async def publish(self, lines: Lines) -> Summary:
        filling = asyncio.create_task(self._fill(lines))
        try:
            while await self._advance():
                if self._on_progress is not None:
                    self._on_progress(self._summary)  # what it raises is its caller's own
            return self._summary
        finally:
            filling.cancel()
            await asyncio.wait([filling])

    async def _advance(self) -> bool:
        """Publish some more; whether there was more.

        :raises Interrupted:
        """
        try:
            piece = await self._piece()
            if piece is not None:
                await self._send(piece)
        except Exception as error:
            raise Interrupted(self._summary, error) from error
        return piece is not None

    async def _fill(self, lines: Lines) -> None:
        try:
            number = 0
            if isinstance(lines, AsyncIterable):
                async for line in lines:
                    number += 1
                    await self._add(number, line)
            else:
                for line in lines:
                    number += 1
                    await self._add(number, line)
                    if number % _BREATH == 0:
                        await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 -- the source's own; raised by publish()
            self._buffer.close(error)
        else:
            self._buffer.close()

    async def _add(self, number: int, line: Line) -> None:
        data = _encoded(line)
        if data:  # an empty line is none, but has its number
            await self._buffer.put((number, data), len(data))

    async def _piece(self) -> list[tuple[int, bytes]] | None:
        """What there is, and at least a line; None at the end."""
        try:
            piece = [await self._buffer.get()]
        except StopAsyncIteration:
            return None
        size = len(piece[0][1])
        while len(self._buffer) and len(piece) < _MAX_LINES and size < _MAX_BYTES:
            piece.append(self._buffer.take())
            size += len(piece[-1][1])
        return piece

    async def _send(self, piece: list[tuple[int, bytes]]) -> None:
        body = b"\n".join(data for _, data in piece) + b"\n"
        answer = await self._requests.post("notify", body=body, content_type="application/x-ndjson")
        before, numbers = self._summary, [number for number, _ in piece]
        try:
            result = answer.content
            failures = tuple(
                _failure(one["error"], one["line"], numbers[one["line"] - 1])
                for one in result["failures"]
            )
            self._summary = Summary(
                lines=before.lines + len(piece),
                stored=before.stored + result["stored"],
                repeated=before.repeated + result["repeated"],
                failed=before.failed + result["failed"],
                failures=(before.failures + failures)[:_MAX_FAILURES],
            )
        except UNREADABLE as error:
            raise BadAnswer(f"the server's account of many can't be read: {error!r}") from error


def _failure(error: Mapping[str, Any], line: int, number: int) -> Failure:
    """A failure of a line of the request, which is the ``number``-th of all."""
    told = re.sub(rf"\b([Ll]ine) {line}\b", rf"\g<1> {number}", error["message"])
    renumbered = {**error, "message": told}
    if "line" in error:
        renumbered["line"] = number
    return Failure(number, refusal(renumbered))


def _encoded(line: Line) -> bytes:
    """The line's JSON, with an id of its own: what is sent again must be stored once."""
    if isinstance(line, Mapping):
        return json.dumps({"id": new_id(), **line}, ensure_ascii=False).encode()
    data = (line.encode() if isinstance(line, str) else line).strip()
    try:
        known = json.loads(data)
    except ValueError:
        return data  # the server says what is wrong with it
    if isinstance(known, dict) and known.get("id") is None and known:
        return b'{"id":"' + new_id().encode() + b'",' + data[1:]
    return data
