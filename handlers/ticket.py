"""``/ticket``: for clients that can send no header, such as ``EventSource``."""

from __future__ import annotations

from handlers import query
from handlers.base import Handler

TTL_SECONDS = 30


class NewTicket(Handler):
    """A ticket is good for one request: ``/events?channel=alerts&ticket=…``."""

    async def post(self) -> None:
        query.check_names(self.request.query_arguments, frozenset())
        ticket = await self.node.authenticator.tickets.issue(self.identity, TTL_SECONDS)
        self.answer({"ticket": ticket, "expires_in": TTL_SECONDS})
