"""``/channels/<name>/presence``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations
from handlers.parameters import CHANNEL
from notifier.errors import BadChannel, BrokerUnavailable, NoSuchChannel, UnknownField
from notifier.wire import messages


class ChannelPresence(Handler):
    """Who is on the channel."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="get_presence",
            summary="Who is on a channel",
            text="Where presence is off, or they are very many, the count is all there is.",
            parameters=(CHANNEL,),
            answers={200: Answer("Who is there.", {JSON: answers.Members})},
            errors=(UnknownField, BadChannel, NoSuchChannel, BrokerUnavailable),
        )
    }

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        members = await self.node.directory.presence(self.node.check_channel(channel))
        self.answer_json(messages.members_of_channel(members))

    head = get
