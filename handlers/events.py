"""``/events``: server-sent events."""

from __future__ import annotations

import random
from typing import ClassVar

from handlers import door
from handlers.described import ROOM_ERRORS, TEXT, Answer, Operation, Operations, Parameter
from handlers.outflow import Outflow
from handlers.parameters import CHANNELS, PRESENCE, SINCE, SINCE_SHAPE
from handlers.query import WANTED_ERRORS, Wanted, check_names, read_wanted
from handlers.streaming import Streaming, is_single
from notifier.errors import Draining, ExpiredCredential, NotifierError
from notifier.listener import Joined
from notifier.wire import eventsource, messages
from notifier.wire.eventsource import (
    EVENTS,
    EVENTS_BARE,
    SHARED_EVENTS,
    SHARED_EVENTS_BARE,
    Bookmark,
)

# Milliseconds until a client comes back; by chance, so that not all come at once.
RETRY_MS = (1000, 3000)
# After a refusal that will not pass.
RETRY_NEVER_MS = 24 * 3600 * 1000


class Events(Streaming):
    """``GET /events?channel=alerts&channel=builds:*[&since=…][&presence=1]``.

    EventSource comes back by itself with ``Last-Event-ID``, which says where it was.
    """

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="events",
            summary="Listen: server-sent events",
            text="The answer has no end. `EventSource` comes back by itself, and misses nothing "
            "that is still in history.",
            parameters=(
                CHANNELS,
                SINCE,
                PRESENCE,
                Parameter(
                    name="Last-Event-ID",
                    where="header",
                    text="What `EventSource` sends when it comes back; wins over `since`.",
                    shape=SINCE_SHAPE,
                ),
            ),
            answers={200: Answer("The events, as they come.", {"text/event-stream": TEXT})},
            errors=(*WANTED_ERRORS, *ROOM_ERRORS),
            takes_ticket=True,
        )
    }
    content_type = eventsource.CONTENT_TYPE
    transport = "events"

    async def get(self) -> None:
        check_names(self.request.query_arguments, self.describes["GET"].query)
        wanted = read_wanted(self, self.node, since=self._last_event_id())
        self.check_wanted(wanted)
        try:
            self.check_room()
        except NotifierError as refusal:
            if self.request.headers.get("Accept", "") != "text/event-stream":
                raise
            # EventSource gives up for good on any status but 200; this refusal will pass.
            await self._refuse_as_event(refusal)
            return
        if is_single(wanted):
            await self._stream_one(wanted)
        else:
            await self._stream_several(wanted)

    head = get

    def _last_event_id(self) -> str | None:
        """What EventSource sends when it comes back: UTF-8, which Tornado reads as Latin-1."""
        value = self.request.headers.get("Last-Event-ID")
        if not value:
            return None
        try:
            return value.encode("latin-1").decode()
        except UnicodeError:
            return value

    async def _stream_one(self, wanted: Wanted) -> None:
        start = ""

        def on_joined(joined: Joined) -> None:
            nonlocal start
            start = "" if joined.position is None else str(joined.position)

        def say(outflow: Outflow, kind: str, message: bytes) -> None:
            # With it a client that has seen nothing yet knows where it began.
            id = start if kind == "subscribed" else ""
            outflow.sink.write(self.wrap(eventsource.say(kind, message, id=id)))

        await self.stream(
            wanted,
            EVENTS if self.chunked else EVENTS_BARE,
            begin=self.wrap(eventsource.retry(random.randint(*RETRY_MS))),
            alive=lambda outflow: self.wrap(eventsource.KEEPALIVE),
            say=say,
            on_joined=on_joined,
        )

    async def _stream_several(self, wanted: Wanted) -> None:
        bookmark = Bookmark(self.wrap, self.node.now_ms)

        def on_joined(joined: Joined) -> None:
            bookmark.add(joined.channel, joined.position)

        def say(outflow: Outflow, kind: str, message: bytes) -> None:
            id = bookmark.token if kind == "subscribed" and outflow.joined else ""
            outflow.sink.write(self.wrap(eventsource.say(kind, message, id=id)))

        await self.stream(
            wanted,
            SHARED_EVENTS if self.chunked else SHARED_EVENTS_BARE,
            begin=self.wrap(eventsource.retry(random.randint(*RETRY_MS))),
            alive=lambda outflow: self.wrap(eventsource.KEEPALIVE),
            say=say,
            on_joined=on_joined,
            # A client that has seen no event yet has a place to come back to.
            all_joined=lambda: self.wrap(eventsource.place(bookmark.token)),
            tailor=bookmark,
        )

    async def _refuse_as_event(self, refusal: NotifierError) -> None:
        self.node.counts.errors[refusal.code] += 1
        self.set_stream_headers()
        if isinstance(refusal, Draining):
            door.part(self)
        if self.request.method != "HEAD":
            wait_ms = refusal.facts.get("retry_after_ms", 0)
            self.write(eventsource.retry(wait_ms + random.randint(*RETRY_MS)))
            self.write(eventsource.say("error", messages.error(refusal)))
        await self.end()

    def refuse_in_band(self, outflow: Outflow, refusal: NotifierError) -> None:
        # Where it is over, the page may have a fresh cookie by now; else it is told so once more,
        # by a status with which EventSource gives up.
        if not refusal.temporary and not isinstance(refusal, ExpiredCredential):
            outflow.sink.write(self.wrap(eventsource.retry(RETRY_NEVER_MS)))
        super().refuse_in_band(outflow, refusal)
