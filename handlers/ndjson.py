"""``application/x-ndjson``: a notification a line, as many as there are, published as they come in.

Never more is held than one line and a window of publications under way: while they are worked on,
nothing is read, so the client's TCP is held. Neither the size nor the time of the whole is bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from handlers.inorder import InOrder
from handlers.lines import Line, LineSplitter
from handlers.publishing import Outcome, failed, goes_alone, publications_of, publish
from notifier.auth.identity import Identity
from notifier.errors import BadBody, BodyTooLarge, BrokerUnavailable, NotifierError
from notifier.jsontext import parse_json
from notifier.node import Node

KINDS = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

# Lines, and bytes of them, that are published together; then everybody else has a turn.
WINDOW_LINES = 128
WINDOW_BYTES = 1 << 16
# What a window may come to in a feed, which counts each publication with its bytes in a format.
WINDOW_IN_FEED = 3 * WINDOW_BYTES
# Who waits for their turn looks up so often.
LOOK_SECONDS = 0.25
# Failures that a summary tells one by one.
MAX_FAILURES = 100

# Told what became of each line of a window, by its number; may take its time.
Tell = Callable[[list[tuple[int, Outcome]]], Awaitable[None]]


def is_ndjson(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in KINDS


class Tally:
    """What became of the lines: how many, and what was wrong with the first that failed.

    :ivar listing: failures are listed, from now on.
    :ivar passing: the last refusal that may not be repeated if it is sent again.
    """

    def __init__(self, *, listing: bool) -> None:
        self.listing = listing
        self.stored = 0
        self.repeated = 0
        self.failed = 0
        self.passing: NotifierError | None = None
        self._failures: list[dict[str, Any]] = []
        self._more = 0

    def add(self, line: int, outcome: Outcome) -> None:
        """:param line: its number."""
        if outcome.failure is not None:
            self.failed += 1
            for refusal in outcome.passing:
                self.passing = refusal
            if self.listing and len(self._failures) < MAX_FAILURES:
                error = outcome.failure.describe()
                self._failures.append({"line": line, "error": error, **outcome.result})
            elif self.listing:
                self._more += 1
        elif outcome.repeated:
            self.repeated += 1
        else:
            self.stored += 1

    def summary(self) -> dict[str, Any]:
        return {
            "stored": self.stored,
            "repeated": self.repeated,
            "failed": self.failed,
            **({"failures": self._failures} if self.listing else {}),
            **({"more_failures": self._more} if self._more else {}),
        }


class LinePublisher:
    """Publishes a body's lines in their order.

    :param by: who publishes.
    :param address: from where.
    :param channel: the one the URL names.
    :param key: the body's idempotency key; line 7 has ``key:6``, as the items of an array.
    :param beside: fields for all lines; a line's own win.
    :param max_line_bytes: a longer line is not published, but told as a failure.
    :ivar ended: the number of the last line that something became of.
    :ivar halt: set it, and it is raised before the next window is begun.
    """

    def __init__(
        self,
        node: Node,
        *,
        by: Callable[[], Identity],
        address: str,
        channel: str | None,
        key: str | None,
        beside: Mapping[str, Any],
        max_line_bytes: int,
    ) -> None:
        self.ended = 0
        self.halt: NotifierError | None = None
        self._node = node
        self._by = by
        self._address = address
        rate = node.publish_rate
        self._window_lines = WINDOW_LINES if rate is None else min(WINDOW_LINES, rate.burst)
        self._channel = channel
        self._key = key
        self._beside = dict(beside)
        self._max_line_bytes = max_line_bytes
        self._splitter = LineSplitter(limit=max_line_bytes)
        # What is to be published, by its line's number; or what became of it already.
        self._window: list[tuple[int, dict[str, Any] | Outcome]] = []
        self._window_bytes = 0
        self._in_order = InOrder()

    async def feed(self, data: bytes, tell: Tell) -> None:
        """Publish the lines that end in this piece of the body.

        :raises NotifierError: there is no use in going on.
        """
        await self._take(self._splitter.feed(data), tell)

    async def end(self, tell: Tell) -> None:
        """Publish the last line. Raises as :meth:`feed` does."""
        self.halt = None  # there is nothing left to be spared
        await self._take(self._splitter.end(), tell)

    async def _take(self, lines: list[Line], tell: Tell) -> None:
        for number, text in lines:
            if self.halt is not None:
                raise self.halt
            item = self._read(number, text)
            alone = goes_alone(item)
            if alone:
                await self._publish(tell)
            self._window.append((number, item))
            self._window_bytes += len(text or b"")
            full = len(self._window) >= self._window_lines or self._window_bytes >= WINDOW_BYTES
            if alone or full:
                await self._publish(tell)
        await self._publish(tell)

    def _read(self, number: int, text: bytes | None) -> dict[str, Any] | Outcome:
        limit = self._max_line_bytes
        try:
            if text is None:
                raise BodyTooLarge(
                    f"Line {number} is over {limit} bytes (setting max_body_bytes).", limit=limit
                )
            fields = parse_json(text, first_line=number)
            if not isinstance(fields, dict):
                raise BadBody(f"Line {number} is not a JSON object.")
        except NotifierError as refusal:
            self._node.counts.intakes["ndjson"].refuse(refusal)
            return failed(refusal)
        return self._beside | fields if self._beside else fields

    async def _publish(self, tell: Tell) -> None:
        """Publish the window, and let everybody else have a turn."""
        window, self._window, self._window_bytes = self._window, [], 0
        if not window:
            return
        await self._wait_for_turn([item for _, item in window])
        outcomes = await self._in_order(self._step, window)
        self.ended = window[-1][0]
        await tell(
            [(number, outcome) for (number, _), outcome in zip(window, outcomes, strict=True)]
        )
        for outcome in outcomes:
            if isinstance(outcome.failure, BrokerUnavailable):
                # An outage must not become as many failing round trips as there are lines.
                raise outcome.failure
        await asyncio.sleep(0)
        for channel in self._channels(outcomes):
            while self._node.crowded(channel, WINDOW_IN_FEED):  # noqa: ASYNC110 -- each turn sends
                await asyncio.sleep(0)

    async def _wait_for_turn(self, items: Sequence[dict[str, Any] | Outcome]) -> None:
        """Who publishes too fast is slowed down: nothing is read of it meanwhile.

        :raises NotifierError: there is no use in waiting.
        """
        rate = self._node.publish_rate
        wait = 0.0
        if rate is not None:
            limit = self._node.settings.max_channels_per_notification
            count = sum(publications_of(item, limit) for item in items)
            wait = rate.owe(self._by(), self._address, count)
        while wait > 0:
            await asyncio.sleep(min(wait, LOOK_SECONDS))
            wait -= LOOK_SECONDS
            if self.halt is not None:
                raise self.halt

    def _channels(self, outcomes: Sequence[Outcome]) -> set[str]:
        """Those that were published to."""
        if self._channel is not None:
            return {self._channel}
        return {published.channel for outcome in outcomes for published in outcome.published}

    def _step(self, line: tuple[int, dict[str, Any] | Outcome]) -> Coroutine[Any, Any, Outcome]:
        number, item = line
        if isinstance(item, Outcome):
            return _already(item)
        key = None if self._key is None else f"{self._key}:{number - 1}"
        return publish(
            self._node, item, source="ndjson", by=self._by(), channel=self._channel, key=key
        )


async def _already(outcome: Outcome) -> Outcome:
    return outcome
