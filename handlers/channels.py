"""``/channels`` and ``/channels/<name>``."""

from __future__ import annotations

from handlers import query
from handlers.base import Handler
from notifier.auth.scopes import Scope
from notifier.channels import check_channel
from notifier.wire import messages

_PARAMETERS = frozenset({"pattern", "after", "limit"})


class ChannelList(Handler):
    """The channels that were published to, and those somebody listens to."""

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, _PARAMETERS)
        pattern = query.read_pattern(self.get_query_argument("pattern", "*"))
        self.check(Scope.SUBSCRIBE, pattern.text)
        page = await self.node.directory.channels(
            pattern,
            self.get_query_argument("after", "", strip=False),
            query.read_limit(self.get_query_argument("limit", None)),
        )
        self.answer_json(messages.channels(page))

    head = get


class Channel(Handler):
    """One of them."""

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        self.answer_json(
            messages.channel(await self.node.directory.channel(check_channel(channel)))
        )

    head = get
