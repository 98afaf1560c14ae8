"""``/stream``: one JSON object per line, for ``curl -N`` and scripts."""

from __future__ import annotations

from typing import ClassVar

from handlers.described import ROOM_ERRORS, TEXT, Answer, Operation, Operations, Parameter
from handlers.outflow import Outflow
from handlers.parameters import CHANNELS, PRESENCE, SINCE, SWITCH
from handlers.query import WANTED_ERRORS, Wanted, check_names, read_switch, read_wanted
from handlers.streaming import Streaming, is_single
from notifier.channels import Pattern, is_pattern
from notifier.errors import (
    BadParameter,
    BrokerUnavailable,
    NotifierError,
)
from notifier.notification import Position
from notifier.wire import lines, messages
from notifier.wire.lines import LINES, LINES_BARE
from notifier.wire.resume import MAX_TOKEN_BYTES, ResumeToken, Since


class LineStream(Streaming):
    """``GET /stream?channel=alerts&channel=builds:*[&since=…][&presence=1][&poll=1]``."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="stream",
            summary="Listen: one JSON object per line",
            text="The answer has no end, but for `poll=1`, which answers with what is there.",
            parameters=(
                CHANNELS,
                SINCE,
                PRESENCE,
                Parameter(
                    name="poll",
                    text="`1`: what is there now, and where to go on from.",
                    shape=SWITCH,
                    example="1",
                ),
            ),
            answers={200: Answer("The lines, as they come.", {lines.CONTENT_TYPE: TEXT})},
            errors=(*WANTED_ERRORS, BrokerUnavailable, *ROOM_ERRORS),
            takes_ticket=True,
        )
    }
    content_type = lines.CONTENT_TYPE
    transport = "stream"
    # Some of the answer to a poll is out: it is too late for a status that tells of a refusal.
    _begun = False

    async def get(self) -> None:
        check_names(self.request.query_arguments, self.describes["GET"].query)
        poll = read_switch("poll", self.get_query_argument("poll", "0"))
        since = "all" if poll and "since" not in self.request.query_arguments else None
        wanted = read_wanted(self, self.node, since=since)
        self.check_wanted(wanted)
        if poll and wanted.presence:
            raise BadParameter("A poll does not stay to be told of presence.", field="presence")
        if poll:
            await self._poll(wanted)
            return
        self.check_room()

        def alive(outflow: Outflow) -> bytes:
            since = self._since(wanted, self.node.places(outflow.sink), self.node.now_ms())
            return self.wrap(lines.line(messages.keepalive(since)))

        await self.stream(wanted, LINES if self.chunked else LINES_BARE, alive=alive)

    head = get

    async def _poll(self, wanted: Wanted) -> None:
        """What is there now, and where to go on from."""
        # A channel that is born while this is read belongs to the next poll.
        begun_ms = self.node.now_ms()
        channels = await self._channels(wanted)
        self.set_stream_headers()
        places: dict[str, Position] = {}
        try:
            if self.request.method != "HEAD":
                for channel in channels:
                    await self._replay(channel, wanted.start_of(channel), places)
                self._line(messages.end(self._since(wanted, places, begun_ms)))
        except NotifierError as refusal:
            if not self._begun:
                raise
            self.node.counts.errors[refusal.code] += 1
            # Without its last line the answer is not whole.
            self._line(messages.error(refusal))
        await self.end()

    async def _replay(self, channel: str, since: Since, places: dict[str, Position]) -> None:
        joined = False
        async for page in self.node.replay(channel, since):
            # Who reads slowly may be long here, where nobody who revokes looks.
            self.node.authenticator.check_still(self.identity)
            if not joined:
                joined = True
                self._line(messages.subscribed(channel, position=page.start, gap=page.gap))
            elif page.gap is not None:
                self._line(messages.item(page.gap))
            for publication in page.publications:
                self._line(messages.item(publication))
            if page.head is not None:
                places[channel] = page.end
            self._begun = True
            await self.flush()

    async def _channels(self, wanted: Wanted) -> list[str]:
        """Those named, and those that match now."""
        names: dict[str, None] = {}
        for name in wanted.names:
            if not is_pattern(name):
                names[name] = None
                continue
            after: str | None = ""
            while after is not None:
                page = await self.node.directory.channels(Pattern.parse(name), after, None)
                names |= dict.fromkeys(overview.channel for overview in page.channels)
                after = page.next
            # Where the client was, though the log may be lost: of that it must be told.
            places = filter(Pattern.parse(name).matches, wanted.start_of.places)
            names |= dict.fromkeys(places)
        return list(names)

    def _line(self, message: bytes) -> None:
        self.write(lines.line(message))

    def _since(self, wanted: Wanted, places: dict[str, Position], time_ms: int) -> str | None:
        """Where to go on from; ``None`` where that is more than could be sent back.

        :param time_ms: what has come to life by then has a place.
        """
        if is_single(wanted) and places:
            (place,) = places.values()
            return str(place)
        token = str(ResumeToken(places, time_ms))
        return token if len(token.encode()) <= MAX_TOKEN_BYTES else None
