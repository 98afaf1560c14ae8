"""``/channels/<name>/history``."""

from __future__ import annotations

from typing import ClassVar

from handlers import query
from handlers.base import Handler
from notifier.channels import check_channel
from notifier.wire import messages

_PARAMETERS = frozenset({"since", "before", "limit", "order", "key"})
_ORDERS = ("oldest", "newest")


class ChannelHistory(Handler):
    """What the channel's history has, page by page; or an end to all of it."""

    acts: ClassVar = {"DELETE": "history.clear"}

    async def get(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, _PARAMETERS)
        page = await self.node.history(
            check_channel(channel),
            self.get_query_argument("since", None),
            query.read_limit(self.get_query_argument("limit", None)),
            before=query.read_position("before", self.get_query_argument("before", None)),
            newest_first=self._order() == "newest",
            key=query.read_key(self.get_query_argument("key", None, strip=False)),
        )
        self.answer_json(messages.history(page))

    head = get

    async def delete(self, channel: str) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        deleted = await self.node.clear(check_channel(channel))
        self.facts = {"path": self.request.path, "deleted": deleted}
        self.answer({"channel": channel, "deleted": deleted})

    def _order(self) -> str:
        return query.read_choice("order", self.get_query_argument("order", _ORDERS[0]), _ORDERS)
