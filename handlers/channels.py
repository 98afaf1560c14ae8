"""``/channels`` and ``/channels/<name>``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations, Parameter
from handlers.parameters import CHANNEL, LIMIT
from notifier.auth.scopes import Scope
from notifier.errors import (
    BadChannel,
    BadParameter,
    BrokerUnavailable,
    NoSuchChannel,
    UnknownField,
)
from notifier.wire import messages


class ChannelList(Handler):
    """The channels that were published to, and those somebody listens to."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="list_channels",
            summary="The channels there are",
            text="Those that were published to, and those that somebody listens to.",
            parameters=(
                Parameter(
                    name="pattern", text="Which: `*` stands for any characters.", example="a*"
                ),
                Parameter(name="after", text="Begin after this name."),
                LIMIT,
            ),
            answers={200: Answer("A page of them.", {JSON: answers.Overviews})},
            errors=(UnknownField, BadParameter, BrokerUnavailable),
        )
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
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

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="get_channel",
            summary="What is known of a channel",
            parameters=(CHANNEL,),
            answers={200: Answer("What is known.", {JSON: answers.Overview})},
            errors=(UnknownField, BadChannel, NoSuchChannel, BrokerUnavailable),
        )
    }

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        self.answer_json(
            messages.channel(await self.node.directory.channel(self.node.check_channel(channel)))
        )

    head = get
