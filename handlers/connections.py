"""``/connections``, each of them, and what it is subscribed to."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations, Parameter
from handlers.parameters import CHANNEL, CONNECTION, LIMIT
from notifier.channels import check_name
from notifier.connectionstate import Holder
from notifier.errors import (
    BadChannel,
    BadParameter,
    BrokerUnavailable,
    NodesSilent,
    NoSuchConnection,
    NoSuchSubscription,
    UnknownField,
)
from notifier.wire import messages

_WHO = (
    Parameter(name="user", text="Only those of this user: the `sub` of a token.", example="42"),
    Parameter(name="key", text="Only those of the key with this name; not both."),
)


class ConnectionList(Handler):
    """The clients' connections to all nodes; or an end to all of one user or key."""

    acts: ClassVar = {
        "GET": "connections.list",
        # The length of its answer tells whether somebody is there.
        "HEAD": "connections.list",
        "DELETE": "connections.end",
    }

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="list_connections",
            summary="The clients' connections, to whichever node",
            parameters=(
                *_WHO,
                Parameter(name="after", text="Begin after this id."),
                LIMIT,
            ),
            answers={
                200: Answer(
                    "A page of them, in the order of their ids.", {JSON: answers.Connections}
                )
            },
            errors=(UnknownField, BadParameter, BrokerUnavailable, NodesSilent),
        ),
        "DELETE": Operation(
            name="end_connections",
            summary="End all connections of a user or a key, for good",
            text="One of the two must be named. If a node did not answer, the others' are ended.",
            parameters=_WHO,
            answers={200: Answer("They are ended.", {JSON: answers.ConnectionsEnded})},
            errors=(UnknownField, BadParameter, BrokerUnavailable, NodesSilent),
        ),
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        page = await self.node.administration.connections(
            self._holder(),
            self.get_query_argument("after", ""),
            query.read_limit(self.get_query_argument("limit", None)),
        )
        self.answer_json(messages.connections(page))

    head = get

    async def delete(self) -> None:
        """Close them, for good."""
        query.check_names(self.request.query_arguments, self.describes["DELETE"].query)
        holder = self._holder()
        if holder is None:
            raise BadParameter("Say whose: ?user=42, or ?key=ci.", field="user")
        ended = await self.node.administration.disconnect_all(holder)
        self.facts = {**self.facts, "ended": ended}
        self.answer(self.facts)

    def _holder(self) -> Holder | None:
        """:raises BadParameter: more than one is named, or nobody."""
        user, key = (self.get_query_argument(who.name, None, strip=False) for who in _WHO)
        if user is not None and key is not None:
            raise BadParameter("Name a user or a key, not both.", field="key")
        if "" in (user, key):
            field = "user" if key is None else "key"
            raise BadParameter(f"{field} is empty: nobody is called so.", field=field)
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

    describes: ClassVar[Operations] = {
        "DELETE": Operation(
            name="end_connection",
            summary="End a client's connection, for good",
            parameters=(CONNECTION,),
            answers={200: Answer("It is ended.", {JSON: answers.ConnectionEnded})},
            errors=(UnknownField, NoSuchConnection, BrokerUnavailable, NodesSilent),
        )
    }

    async def delete(self, connection: str) -> None:
        """Close it, for good."""
        query.check_names(self.request.query_arguments, self.describes["DELETE"].query)
        await self.node.administration.disconnect(connection)
        self.answer({"connection": connection, "ended": True})


class OneSubscription(Handler):
    """What a connection follows, by the name it asked for."""

    acts: ClassVar = {"DELETE": "subscription.end"}

    describes: ClassVar[Operations] = {
        "DELETE": Operation(
            name="end_subscription",
            summary="End one subscription of a connection",
            parameters=(
                CONNECTION,
                replace(CHANNEL, text="The channel, or the pattern, as its client asked for it."),
            ),
            answers={200: Answer("It is ended.", {JSON: answers.SubscriptionEnded})},
            errors=(UnknownField, BadChannel, NoSuchSubscription, BrokerUnavailable, NodesSilent),
        )
    }

    async def delete(self, connection: str, name: str) -> None:
        """End it."""
        query.check_names(self.request.query_arguments, self.describes["DELETE"].query)
        name = check_name(name)
        await self.node.administration.end_subscription(connection, name)
        self.answer({"connection": connection, "channel": name, "ended": True})
