"""``/channels/<name>/presence``."""

from __future__ import annotations

from handlers import query
from handlers.base import Handler
from notifier.channels import check_channel
from notifier.wire import messages


class ChannelPresence(Handler):
    """Who is on the channel."""

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        members = await self.node.directory.presence(check_channel(channel))
        self.answer_json(messages.members_of_channel(members))

    head = get
