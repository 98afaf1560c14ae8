"""``/stream``: one JSON object per line, for ``curl -N`` and scripts."""

from __future__ import annotations

from handlers.outflow import Outflow
from handlers.query import Wanted, check_names, read_switch, read_wanted
from handlers.streaming import Streaming, is_single
from notifier.channels import Pattern, is_pattern
from notifier.errors import BadParameter
from notifier.notification import Position
from notifier.wire import lines, messages
from notifier.wire.lines import LINES, LINES_BARE
from notifier.wire.resume import ResumeToken

_PARAMETERS = frozenset({"channel", "since", "presence", "poll"})


class LineStream(Streaming):
    """``GET /stream?channel=alerts&channel=builds:*[&since=…][&presence=1][&poll=1]``."""

    content_type = lines.CONTENT_TYPE
    transport = "stream"

    async def get(self) -> None:
        check_names(self.request.query_arguments, _PARAMETERS)
        poll = read_switch("poll", self.get_query_argument("poll", "0"))
        since = "all" if poll and "since" not in self.request.query_arguments else None
        wanted = read_wanted(self, self.node, since=since)
        self.check_wanted(wanted)
        if poll and wanted.presence:
            raise BadParameter("A poll does not stay to be told of presence.", field="presence")
        if poll:
            await self._poll(wanted)
            return
        self.node.check_room()

        def alive(outflow: Outflow) -> bytes:
            since = self._since(wanted, self.node.places(outflow.sink))
            return self.wrap(lines.line(messages.keepalive(since)))

        await self.stream(wanted, LINES if self.chunked else LINES_BARE, alive=alive)

    head = get

    async def _poll(self, wanted: Wanted) -> None:
        """What is there now, and where to go on from."""
        self.set_stream_headers()
        places: dict[str, Position] = {}
        for channel in await self._channels(wanted):
            joined = False
            async for page in self.node.replay(channel, wanted.start_of(channel)):
                if not joined:
                    joined = True
                    self._line(messages.subscribed(channel, position=page.start, gap=page.gap))
                elif page.gap is not None:
                    self._line(messages.item(page.gap))
                for publication in page.publications:
                    self._line(messages.item(publication))
                if page.head is not None:
                    places[channel] = page.end
                await self.flush()
        self._line(messages.end(self._since(wanted, places)))
        self.finish()

    async def _channels(self, wanted: Wanted) -> list[str]:
        """Those named, and those that match now."""
        names: dict[str, None] = {}
        for name in wanted.names:
            if not is_pattern(name):
                names[name] = None
                continue
            after: str | None = ""
            while after is not None:
                page = await self.node.channels(Pattern.parse(name), after, None)
                names |= dict.fromkeys(overview.channel for overview in page.channels)
                after = page.next
        return list(names)

    def _line(self, message: bytes) -> None:
        if self.request.method != "HEAD":
            self.write(lines.line(message))

    def _since(self, wanted: Wanted, places: dict[str, Position]) -> str:
        """Where to go on from."""
        if is_single(wanted) and places:
            (place,) = places.values()
            return str(place)
        return str(ResumeToken(places, self.node.now_ms()))
