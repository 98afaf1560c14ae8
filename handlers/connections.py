"""``/connections``, each of them, and what it is subscribed to."""

from __future__ import annotations

from typing import ClassVar

from handlers import query
from handlers.base import Handler
from notifier.channels import check_name
from notifier.connectionstate import Holder
from notifier.errors import BadParameter
from notifier.wire import messages

_WHO = ("user", "key")
_PAGE = frozenset({*_WHO, "after", "limit"})


class ConnectionList(Handler):
    """The clients' connections to all nodes; or an end to all of one user or key."""

    acts: ClassVar = {"GET": "connections.list", "DELETE": "connections.end"}

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, _PAGE)
        page = await self.node.administration.connections(
            self._holder(),
            self.get_query_argument("after", ""),
            query.read_limit(self.get_query_argument("limit", None)),
        )
        self.answer_json(messages.connections(page))

    head = get

    async def delete(self) -> None:
        """Close them, for good."""
        query.check_names(self.request.query_arguments, frozenset(_WHO))
        holder = self._holder()
        if holder is None:
            raise BadParameter("Say whose: ?user=42, or ?key=ci.", field="user")
        ended = await self.node.administration.disconnect_all(holder)
        self.facts = {**self.facts, "ended": ended}
        self.answer(self.facts)

    def _holder(self) -> Holder | None:
        """:raises BadParameter: more than one is named."""
        user, key = (self.get_query_argument(name, None, strip=False) for name in _WHO)
        if user is not None and key is not None:
            raise BadParameter("Name a user or a key, not both.", field="key")
        if user is not None:
            self.facts = {"user": user}
            return Holder("token", user)
        if key is not None:
            self.facts = {"key": key}
            return Holder("key", key)
        return None


class OneConnection(Handler):
    """A client's connection, to whichever node."""

    acts: ClassVar = {"DELETE": "connection.end"}

    async def delete(self, connection: str) -> None:
        """Close it, for good."""
        query.check_names(self.request.query_arguments, frozenset())
        await self.node.administration.disconnect(connection)
        self.answer({"connection": connection, "ended": True})


class OneSubscription(Handler):
    """What a connection follows, by the name it asked for."""

    acts: ClassVar = {"DELETE": "subscription.end"}

    async def delete(self, connection: str, name: str) -> None:
        """End it."""
        query.check_names(self.request.query_arguments, frozenset())
        name = check_name(name)
        await self.node.administration.end_subscription(connection, name)
        self.answer({"connection": connection, "channel": name, "ended": True})
