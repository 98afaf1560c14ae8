"""``/connections/<id>`` and what it is subscribed to."""

from __future__ import annotations

from handlers import query
from handlers.base import Handler
from notifier.channels import check_name


class OneConnection(Handler):
    """A client's connection, to whichever node."""

    async def delete(self, connection: str) -> None:
        """Close it, for good."""
        query.check_names(self.request.query_arguments, frozenset())
        await self.node.disconnect(connection)
        self.answer({"connection": connection, "ended": True})


class OneSubscription(Handler):
    """What a connection follows, by the name it asked for."""

    async def delete(self, connection: str, name: str) -> None:
        """End it."""
        query.check_names(self.request.query_arguments, frozenset())
        name = check_name(name)
        await self.node.end_subscription(connection, name)
        self.answer({"connection": connection, "channel": name, "ended": True})
