"""``/channels/<name>/history``."""

from __future__ import annotations

from handlers.base import Handler
from notifier.channels import check_channel
from notifier.notification import unknown_field
from notifier.wire import messages

_PARAMETERS = frozenset({"since", "limit"})


class ChannelHistory(Handler):
    """``GET …/history?since=&limit=``: what the channel's history has, the oldest first."""

    async def get(self, channel: str) -> None:
        for name in self.request.query_arguments:
            if name not in _PARAMETERS:
                raise unknown_field(name, name, _PARAMETERS)
        page = await self.node.history(
            check_channel(channel), self.get_query_argument("since", None), self._limit()
        )
        self.answer_json(messages.history(page))

    head = get

    def _limit(self) -> int | None:
        text = self.get_query_argument("limit", None)
        if text is None:
            return None
        # What is no number breaks the same rule as one that is too small.
        return int(text[:9]) if text.isascii() and text.isdigit() else 0
