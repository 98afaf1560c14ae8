"""``/nodes``."""

from __future__ import annotations

from handlers import query
from handlers.base import Handler
from notifier.wire import messages


class NodeList(Handler):
    """The server processes that are one service, as far as they live."""

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        nodes = await self.node.directory.nodes()
        self.answer_json(messages.nodes(nodes, answered_by=self.node.id))

    head = get
