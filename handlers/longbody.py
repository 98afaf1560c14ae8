"""A body of lines that may go on for ever: its coding, its patience, its answers.

::

              summary (the default)                     answers=all
    200, 207  all of it was read                        200, answers from the first line on
    503       … and a line failed for a reason that     … and the summary as the last line,
              passes, or                                with the error if there was one
    408       no byte came for too long
    503       the broker is away, the node is leaving
    400       it is not compressed as it says

Whatever ends it early is told at once, and the rest is read away: a client that only reads when it
has sent everything must get there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from pydantic_core import to_json
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from handlers import door
from handlers.base import Handler
from handlers.body import Unpacking
from handlers.intake import fields_beside, idempotency_key
from handlers.linger import LINGER_SECONDS
from handlers.ndjson import LinePublisher, Tally
from handlers.publishing import Outcome
from handlers.query import read_choice
from notifier import logs
from notifier.errors import BadBody, BodyStalled, Draining, NotifierError, without_frames

log = logging.getLogger("notifier.http")

_PARAMETERS = frozenset({"answers"})
_ANSWERS = ("summary", "all")

# How often, at most, it is looked whether the client is still there and the node stays.
WATCH_SECONDS = 1.0


class LongBody:
    """Reads one request's body, publishes its lines, and answers.

    :raises NotifierError: what can be refused before the body is read.
    """

    def __init__(
        self, handler: Handler, connection: HTTP1Connection, *, channel: str | None
    ) -> None:
        request, settings = handler.request, handler.node.settings
        self._handler = handler
        self._connection = connection
        self._unpacking = Unpacking(request.headers.get("Content-Encoding", ""))
        # The last one given counts, as for fields.
        choice = handler.get_query_argument("answers", _ANSWERS[0])
        self._line_by_line = read_choice("answers", choice, _ANSWERS) == "all"
        beside = fields_beside(request, others=_PARAMETERS)
        beside.pop("id", None)  # is for one
        self._tally = Tally(listing=not self._line_by_line)
        self._publisher = LinePublisher(
            handler.node,
            by=lambda: handler.identity,  # known by the time there is a line
            address=str(request.remote_ip),
            channel=channel,
            key=idempotency_key(request.headers),
            beside=beside,
            max_line_bytes=settings.max_body_bytes,
        )
        # Answers have begun to go out line by line; and, if the client took none of them for too
        # long, the last line that was answered.
        self._begun = False
        self._told_to: int | None = None
        # It has been told that nothing more is done.
        self._stopped = False
        self._flushed: asyncio.Future[None] | None = None
        self._over = False
        self._busy = False
        self._leave_by: float | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._watch_seconds = min(
            WATCH_SECONDS, settings.body_timeout / 4, max(settings.drain_seconds / 8, 0.05)
        )

    # --- reading ---

    async def data_received(self, chunk: bytes) -> None:
        """Publish what ends in this piece; nothing more is read before that is done."""
        self._heard = self._loop.time()
        if not self._stopped:
            await self._work(self._publish(chunk))

    async def end(self) -> None:
        """All of it has been read."""
        try:
            if not self._stopped:
                await self._work(self._publish_rest())
        finally:
            self._be_over()
        if self._stopped:
            await self._hang_up()
        elif self._line_by_line:
            self._say(self._summary())
            if self._handler.request.version == "HTTP/1.0":
                await self._hang_up()
            else:
                self._handler.finish()
        else:
            replayed = not (self._tally.stored or self._tally.failed) and self._tally.repeated
            if replayed:
                self._handler.set_header("Idempotent-Replayed", "true")
            if self._tally.passing is not None:
                door.set_retry_after(self._handler, self._tally.passing)
                self._handler.answer(self._summary(), 503)
            else:
                self._handler.answer(self._summary(), 207 if self._tally.failed else 200)

    def lost(self) -> None:
        """The client is gone. What was read of it is stored; a line cut in two is not."""
        if not self._over and not self._stopped:
            request = self._handler.request
            logs.event(
                log,
                logging.INFO,
                "body.broken_off",
                path=request.path,
                lines=self._publisher.ended,
                stored=self._tally.stored,
                remote=request.remote_ip,
            )
        self._be_over()
        if self._unpacking.compressed:
            # What is still in it may be very much, and is for nobody.
            self._publisher.halt = BadBody("The client is gone.")

    def _be_over(self) -> None:
        self._over = True
        if self._next_look is not None:
            self._next_look.cancel()  # it would hold us until then

    async def _publish(self, chunk: bytes) -> None:
        for piece in self._unpacking.pieces(chunk):
            if self._publisher.halt is not None:
                raise self._publisher.halt
            await self._publisher.feed(piece, self._tell)
            await asyncio.sleep(0)  # a piece may be unpacked without holding a line

    async def _publish_rest(self) -> None:
        self._unpacking.end()
        await self._publisher.end(self._tell)

    async def _work(self, step: Awaitable[None]) -> None:
        self._busy = True
        try:
            await step
        except NotifierError as refusal:
            without_frames(refusal)
            if not self._over:
                self._stop(refusal)
        except StreamClosedError:
            self._stopped = True  # nobody is left to be told
        except Exception as fault:  # noqa: BLE001
            self._handler.log_exception(type(fault), fault, fault.__traceback__)
            self._stop(door.translate(self._handler, fault))
        finally:
            self._busy = False
            self._heard = self._loop.time()

    # --- patience ---

    def watch(self) -> None:
        """Every now and then: is the client still there and let in, does the node stay?"""
        if self._over:
            return
        now, settings = self._loop.time(), self._handler.node.settings
        self._next_look = self._loop.call_later(self._watch_seconds, self.watch)
        if not self._stopped and (refusal := self._disowned()) is not None:
            self._give_up(refusal)
            return
        patience = settings.body_timeout
        if self._stopped:
            patience = min(patience, LINGER_SECONDS)
        if not self._busy and now - self._heard >= patience:
            if self._stopped:
                self._connection.close()
            else:
                self._stop(
                    BodyStalled(
                        f"No byte of the body came for {patience:g} s (setting body_timeout)."
                    )
                )
        elif self._handler.node.connections.draining and not self._stopped:
            # A short body is not cut; one without end leaves time to be told.
            self._leave_by = self._leave_by or now + settings.drain_seconds / 2
            if now >= self._leave_by:
                self._give_up(Draining("This node is about to leave: send the rest to another."))

    def _disowned(self) -> NotifierError | None:
        """Why who sends this may not any more: its key or token has ended, or was revoked."""
        identity = self._handler.identity
        if identity.kind == "anonymous":
            return None
        try:
            self._handler.node.authenticator.check_still(identity)
        except NotifierError as refusal:
            return refusal
        return None

    def _give_up(self, refusal: NotifierError) -> None:
        if self._busy:
            self._publisher.halt = refusal
        else:
            self._stop(refusal)

    # --- answers ---

    def _stop(self, refusal: NotifierError) -> None:
        """Tell the client now, though it may still be sending."""
        self._stopped = True
        body = {
            "error": refusal.describe(),
            "stopped_at_line": self._publisher.ended + 1,
            **self._summary(),
        }
        if self._begun:
            self._handler.node.counts.errors[refusal.code] += 1
            self._say(body)
        else:
            door.refuse(self._handler, refusal)
            text = to_json(body) + b"\n"
            self._handler.set_header("Connection", "close")
            self._handler.set_header("Content-Length", str(len(text)))
            self._handler.write(text)
        self._flushed = self._handler.flush()
        # It has its answer: a node that leaves need not wait for the rest.
        self._handler.on_finish()

    async def _tell(self, outcomes: list[tuple[int, Outcome]]) -> None:
        for line, outcome in outcomes:
            self._tally.add(line, outcome)
        if not self._line_by_line or self._told_to is not None:
            return
        for line, outcome in outcomes:
            self._say({"line": line, **outcome.result})
        flushed = self._handler.flush()
        seconds = self._handler.node.settings.stalled_seconds
        done, _ = await asyncio.wait({flushed}, timeout=seconds)
        if done:
            flushed.result()
            return
        # It doesn't read before it has sent everything: that must come to an end.
        self._told_to = outcomes[-1][0]
        self._tally.listing = True

    def _say(self, answer: dict[str, Any]) -> None:
        """A line of the answer."""
        if not self._begun:
            self._begun = True
            self._handler.set_header("Content-Type", "application/x-ndjson")
            self._handler.set_header("Cache-Control", "no-store")
            if self._handler.request.version == "HTTP/1.0":
                # Its end is the connection's, which therefore can't be kept.
                self._handler.request.headers.pop("Connection", None)
        self._handler.write(to_json(answer) + b"\n")

    def _summary(self) -> dict[str, Any]:
        told = {} if self._told_to is None else {"answered_to_line": self._told_to}
        return {**told, **self._tally.summary()}

    async def _hang_up(self) -> None:
        """End, when the client has all there was to say."""
        if self._flushed is None:
            self._flushed = self._handler.flush()
        await asyncio.wait({self._flushed})
        if self._handler.request.version == "HTTP/1.0" or not self._begun:
            self._handler.hang_up()
        else:
            self._handler.finish()
