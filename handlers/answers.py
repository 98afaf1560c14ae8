"""The JSON objects that are answered, as types: ``openapi.py`` makes their schemas of them.

What makes the objects themselves is in :mod:`notifier.wire.messages` and ``publishing.py``; tests
hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

_POSITION = r"^[0-9A-Za-z]{1,32}:(0|[1-9][0-9]{0,17})$"

Count = Annotated[int, Field(ge=0)]
Place = Annotated[
    str, Field(pattern=_POSITION, description="A place in a channel's log.",
               examples=["k3Jd9wQa:42"])
]  # fmt: skip
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Refusal(TypedDict):
    """What is wrong; some have facts of their own beside these."""

    code: Annotated[int, Field(ge=40000, le=59999)]
    message: str
    docs: str
    temporary: bool


class Refused(TypedDict):
    """One item that was not stored."""

    error: Refusal


class Stored(TypedDict):
    """A notification that was stored in a channel and announced."""

    id: str
    channel: str
    position: Annotated[Place | None, Field(description="null in an ephemeral channel")]
    subscribers: Count


class RefusedIn(TypedDict):
    """A channel in which it was not stored."""

    channel: str
    error: Refusal


class StoredInSeveral(TypedDict):
    """What became of a notification in each of its channels."""

    id: NotRequired[str]
    channels: list[Stored | RefusedIn]


class FailedLine(TypedDict):
    """A line that was not stored, or not in all of its channels."""

    line: Annotated[int, Field(ge=1)]
    error: Refusal
    id: NotRequired[str]
    channels: NotRequired[list[Stored | RefusedIn]]


class Summary(TypedDict):
    """What became of a body of lines."""

    stored: Count
    repeated: Count
    failed: Count
    failures: list[FailedLine]
    more_failures: NotRequired[Count]


Result = Stored | StoredInSeveral
Published = Stored | StoredInSeveral | list[Stored | StoredInSeveral] | Summary
PublishedInPart = StoredInSeveral | list[Stored | StoredInSeveral | Refused] | Summary


class Ends(TypedDict):
    """Publications that are lost: those strictly between the two."""

    after: Place | None
    before: Place


class Overview(TypedDict):
    """What is known of a channel."""

    channel: str
    position: Place | None
    publications: Count
    bytes: Count
    time: Instant | None
    subscribers: Count


class Overviews(TypedDict):
    """A page of the channels there are."""

    channels: list[Overview]
    next: Annotated[str | None, Field(description="the `after` of the page after this one")]


@with_config(ConfigDict(extra="allow"))
class Publication(TypedDict):
    """A notification in its place, with its own fields beside these."""

    position: Place | None
    offset: Count | None
    id: str
    time: Instant


class Page(TypedDict):
    """A page of a channel's history."""

    channel: str
    position: Place | None
    recovered: bool | None
    gap: NotRequired[Ends]
    next: Annotated[
        Place | None,
        Field(description="the `since`, or with order=newest the `before`, of the page after it"),
    ]
    publications: list[Publication]


class Deleted(TypedDict):
    """How many publications were deleted."""

    channel: str
    deleted: Count


class Member(TypedDict):
    """A connection that follows a channel."""

    connection: str
    transport: Literal["websocket", "events", "stream", "raw"]
    since: Instant
    node: str
    user: NotRequired[Annotated[str, Field(description="the token's `sub`, of who has one")]]
    info: NotRequired[Annotated[Any, Field(description="the token's `info`, if it has any")]]


class Members(TypedDict):
    """Who is on a channel."""

    channel: str
    count: Count
    members: list[Member] | None


class Connection(TypedDict):
    """A client's connection, and who it is."""

    connection: str
    node: str
    transport: Literal["websocket", "events", "stream", "raw"]
    remote: Annotated[str, Field(description="the address it comes from")]
    kind: Literal["anonymous", "key", "token"]
    name: Annotated[str, Field(description="the key's name, the token's `sub`")]
    since: Instant
    subscriptions: Count
    expires: Annotated[Instant | None, Field(description="when its key or token ends; null: never")]


class Connections(TypedDict):
    """A page of the connections there are."""

    connections: list[Connection]
    next: Annotated[str | None, Field(description="the `after` of the page after this one")]


class UserEnded(TypedDict):
    """How many connections of a user were ended."""

    user: str
    ended: Count


class KeyEnded(TypedDict):
    """How many connections of a key were ended."""

    key: str
    ended: Count


ConnectionsEnded = UserEnded | KeyEnded


class ConnectionEnded(TypedDict):
    """It is no more."""

    connection: str
    ended: Literal[True]


class SubscriptionEnded(TypedDict):
    """It is no more."""

    connection: str
    channel: str
    ended: Literal[True]


class Node(TypedDict):
    """A server process."""

    node: str
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    version: str
    started: Instant
    connections: Count
    subscriptions: Count
    channels: Count
    ready: bool
    reason: str | None


class Nodes(TypedDict):
    """The server processes that are one service."""

    nodes: list[Node]
    answered_by: str


class Revocation(TypedDict):
    """A token that is good no longer."""

    token_id: str
    until: Instant


class UserRevocation(TypedDict):
    """All tokens of a user that were issued before a moment."""

    user: str
    before: Instant
    until: Annotated[Instant, Field(description="when the last of them would have expired")]


class Revoked(Revocation):
    """With how many connections that ended."""

    ended: Count


class UserRevoked(UserRevocation):
    """With how many connections that ended."""

    ended: Count


class Revocations(TypedDict):
    """A page of those in force: of tokens, or of users."""

    revocations: list[Revocation] | list[UserRevocation]
    next: Annotated[str | None, Field(description="the `after` of the page after this one")]


# A member is called "from", which can be no attribute.
Setting = TypedDict(
    "Setting",
    {
        "value": Any,
        "from": Literal["default", "file", "environment", "flag", "code"],
        "name": NotRequired[
            Annotated[str, Field(description="of the flag, the variable or the file")]
        ],
    },
)


class Ticket(TypedDict):
    """What stands for a key or a token, once."""

    ticket: str
    expires_in: Annotated[int, Field(description="seconds")]


class Healthy(TypedDict):
    """It is well."""

    status: Literal["ok"]


class NotReady(TypedDict):
    """It should get no clients, and why."""

    status: Literal["not ready"]
    reason: str


Document = dict[str, Any]
