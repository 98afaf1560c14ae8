"""``/channels/<name>/history``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations, Parameter
from handlers.parameters import CHANNEL, LIMIT, SINCE
from notifier.channels import check_channel
from notifier.errors import (
    BadChannel,
    BadParameter,
    BadSince,
    BrokerUnavailable,
    NoSuchChannel,
    TokenTooLong,
    UnknownField,
)
from notifier.wire import messages

_ORDERS = ("oldest", "newest")


class ChannelHistory(Handler):
    """What the channel's history has, page by page; or an end to all of it."""

    acts: ClassVar = {"DELETE": "history.clear"}

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="read_history",
            summary="Read what a channel has kept",
            parameters=(
                CHANNEL,
                SINCE,
                Parameter(
                    name="before",
                    text="A position: only what is older.",
                    shape=answers.Place,
                ),
                Parameter(
                    name="order",
                    text="Which end comes first.",
                    shape={"type": "string", "enum": list(_ORDERS), "default": _ORDERS[0]},
                ),
                Parameter(name="key", text="Only publications with this `key`."),
                LIMIT,
            ),
            answers={200: Answer("A page of it.", {JSON: answers.Page})},
            errors=(
                UnknownField,
                BadChannel,
                BadSince,
                BadParameter,
                NoSuchChannel,
                TokenTooLong,
                BrokerUnavailable,
            ),
        ),
        "DELETE": Operation(
            name="delete_history",
            summary="Delete all that a channel has kept",
            text="The channel stays, and its offsets go on where they were.",
            parameters=(CHANNEL,),
            answers={200: Answer("It is gone.", {JSON: answers.Deleted})},
            errors=(UnknownField, BadChannel, NoSuchChannel, BrokerUnavailable),
        ),
    }

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        page = await self.node.history(
            self.node.check_channel(channel),
            self.get_query_argument("since", None),
            query.read_limit(self.get_query_argument("limit", None)),
            before=query.read_position("before", self.get_query_argument("before", None)),
            newest_first=self._order() == "newest",
            key=query.read_key(self.get_query_argument("key", None, strip=False)),
        )
        self.answer_json(messages.history(page))

    head = get

    async def delete(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, self.describes["DELETE"].query)
        # Also one that was published to when the settings still allowed so long a name.
        deleted = await self.node.clear(check_channel(channel))
        self.facts = {"path": self.request.path, "deleted": deleted}
        self.answer({"channel": channel, "deleted": deleted})

    def _order(self) -> str:
        return query.read_choice("order", self.get_query_argument("order", _ORDERS[0]), _ORDERS)
