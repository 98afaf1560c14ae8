"""``/ticket``: for clients that can send no header, such as ``EventSource``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations
from notifier.errors import (
    BrokerUnavailable,
    TooManyTickets,
    TooManyTicketsOfUser,
    UnknownField,
)

TTL_SECONDS = 30


class NewTicket(Handler):
    """A ticket is good for one GET: ``/events?channel=alerts&ticket=…``."""

    describes: ClassVar[Operations] = {
        "POST": Operation(
            name="get_ticket",
            summary="A ticket, for a client that can send no header",
            text=f"It is good for one GET within {TTL_SECONDS} seconds.",
            answers={200: Answer("It.", {JSON: answers.Ticket})},
            errors=(UnknownField, TooManyTicketsOfUser, TooManyTickets, BrokerUnavailable),
        )
    }

    async def post(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["POST"].query)
        ticket = await self.node.authenticator.tickets.issue(
            self.identity, TTL_SECONDS, address=str(self.request.remote_ip)
        )
        self.answer({"ticket": ticket, "expires_in": TTL_SECONDS})
