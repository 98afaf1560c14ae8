"""``/nodes``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations
from notifier.errors import BrokerUnavailable, UnknownField
from notifier.wire import messages


class NodeList(Handler):
    """The server processes that are one service, as far as they live."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="list_nodes",
            summary="The server processes that are one service",
            answers={200: Answer("The oldest first.", {JSON: answers.Nodes})},
            errors=(UnknownField, BrokerUnavailable),
        )
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        nodes = await self.node.directory.nodes()
        self.answer_json(messages.nodes(nodes, answered_by=self.node.id))

    head = get
