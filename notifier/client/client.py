"""A client of one server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

from notifier.client.answers import Channel, Connection, Node, Page, Presence, Receipt, Summary
from notifier.client.failures import UNREADABLE, BadAnswer
from notifier.client.notification import Change, Gap, Notification
from notifier.client.publisher import Lines, Publisher, new_id
from notifier.client.requests import Answer, Requests
from notifier.client.subscription import Subscription

T = TypeVar("T")

_CHANNELS = 1000  # the most that the server lists at once


class Fields(TypedDict, total=False):
    """A notification's own fields; the rules of each are the server's."""

    id: str
    title: str
    priority: int | str
    tags: Sequence[str] | str
    click: str
    icon: str
    actions: Sequence[Mapping[str, Any]]
    data: Any
    key: str
    expires: str | float
    content_type: str


class Client:
    """Made by :func:`notifier.client.connect`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._subscriptions: set[Subscription[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every subscription, and let go of what is under way."""
        for subscription in list(self._subscriptions):
            await subscription.aclose()
        self._requests.close()

    @overload
    def subscribe(
        self,
        *channels: str,
        since: str | None = None,
        reconnect: bool = True,
        on_gap: None = None,
        on_change: Callable[[Change], object] | None = None,
    ) -> Subscription[Notification | Gap]: ...

    @overload
    def subscribe(
        self,
        *channels: str,
        since: str | None = None,
        reconnect: bool = True,
        on_gap: Callable[[Gap], object],
        on_change: Callable[[Change], object] | None = None,
    ) -> Subscription[Notification]: ...

    def subscribe(
        self,
        *channels: str,
        since: str | None = None,
        reconnect: bool = True,
        on_gap: Callable[[Gap], object] | None = None,
        on_change: Callable[[Change], object] | None = None,
    ) -> Subscription[Any]:
        """Follow channels and patterns, over a connection of their own.

        :param since: where to begin: ``latest`` (default), ``all``, ``-20``, ``10m``, a time, a
            position, or the token of an earlier subscription, however long. Later connections
            resume.
        :param reconnect: come back when the connection is lost.
        :param on_gap: is called with each :class:`Gap`, in its place; without, the iteration
            yields them between the notifications.
        :param on_change: is called with each :class:`Change` of the connection.
        """
        if not channels:
            raise TypeError("name at least one channel")
        subscription: Subscription[Any] = Subscription(
            self._requests,
            tuple(dict.fromkeys(channels)),
            since=since,
            reconnect=reconnect,
            on_gap=on_gap,
            on_change=on_change,
            on_end=self._subscriptions.discard,
        )
        self._subscriptions.add(subscription)
        return subscription

    async def publish(
        self,
        channel: str,
        message: str | None = None,
        *,
        content: bytes | None = None,
        **fields: Unpack[Fields],
    ) -> Receipt:
        """Publish, and return when it is stored and announced.

        It is sent again when the connection breaks or the server can't answer just now. It has
        an ``id``, given or made, under which it is stored once.

        :param content: bytes, told apart by ``content_type``.
        :raises NotifierError: the server refused it.
        :raises Unreachable: no answer, also when tried again; whether it is stored is not known.
        """
        sent: dict[str, Any] = {"channel": channel, "id": new_id(), **fields}
        if message is not None:
            sent["message"] = message
        if content is not None:
            sent["data_base64"] = base64.b64encode(content).decode()
            sent.setdefault("content_type", "application/octet-stream")
        body = json.dumps(sent, ensure_ascii=False).encode()
        answer = await self._requests.post("notify", body=body, content_type="application/json")
        repeated = answer.headers.get("Idempotent-Replayed") == "true"
        return _read(answer, lambda found: Receipt(**found, repeated=repeated))

    async def publish_many(
        self, lines: Lines, *, on_progress: Callable[[Summary], object] | None = None
    ) -> Summary:
        """Publish all that an iterable or an async iterable gives: objects, or lines of NDJSON.

        Each names its ``channel``. They are published in order while the source still gives, in
        bounded memory, and a fast source waits for the server. One that the server refuses
        doesn't keep the others from being stored. Each has an ``id``, given or made, so that it
        is stored once even if it had to be sent again.

        A plain iterable must not wait for anything, or everything waits with it.

        :param on_progress: is called with the :class:`Summary` so far, again and again. What it
            raises ends the publishing, and is raised as it is.
        :raises Interrupted: the server can't be reached, or the source raised; it tells how far
            it came.
        """
        return await Publisher(self._requests, on_progress=on_progress).publish(lines)

    async def history(
        self,
        channel: str,
        *,
        since: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        order: Literal["oldest", "newest"] | None = None,
        key: str | None = None,
    ) -> Page:
        """Read a page of what a channel has kept.

        :param since: where to begin; ``all`` by default.
        :param before: a position to stop short of.
        :param limit: publications on the page.
        :param order: which come first, and are on the first page.
        :param key: only those with this key.
        """
        asked = {"since": since, "before": before, "limit": limit, "order": order, "key": key}
        answer = await self._requests.get("channels", channel, "history", query=asked.items())
        return _read(answer, Page.of)

    async def channels(self, pattern: str | None = None) -> list[Channel]:
        """All channels, or those that match, sorted by name."""
        found: list[Channel] = []
        after: str | None = None
        while True:
            query = {"pattern": pattern, "after": after, "limit": _CHANNELS}
            answer = await self._requests.get("channels", query=query.items())
            page, after = _read(
                answer, lambda a: ([Channel.of(one) for one in a["channels"]], a["next"])
            )
            found += page
            if after is None:
                return found

    async def presence(self, channel: str) -> Presence:
        """Who is on a channel."""
        answer = await self._requests.get("channels", channel, "presence")
        return _read(answer, Presence.of)

    async def connections(
        self, *, user: str | None = None, key: str | None = None
    ) -> list[Connection]:
        """All connections, or those of a user or a key, in the order of their ids."""
        found: list[Connection] = []
        after: str | None = None
        while True:
            query = {"user": user, "key": key, "after": after, "limit": _CHANNELS}
            answer = await self._requests.get("connections", query=query.items())
            page, after = _read(
                answer, lambda a: ([Connection.of(one) for one in a["connections"]], a["next"])
            )
            found += page
            if after is None:
                return found

    async def disconnect(self, connection: str) -> None:
        """End a connection by its id, for good.

        :raises NotifierError: there is none, or not all nodes could be asked.
        """
        await self._requests.delete("connections", connection)

    async def disconnect_all(self, *, user: str | None = None, key: str | None = None) -> int:
        """End all connections of a user, or of a key, for good; how many those were.

        :raises NotifierError: not all nodes have answered (50305), and the others have done it.
        """
        query = {"user": user, "key": key}
        answer = await self._requests.delete("connections", query=query.items(), counted=True)
        return _read(answer, lambda found: int(found["ended"]))

    async def revoke(self, token_id: str, *, until: datetime | None = None) -> int:
        """Let a token be good no longer; how many connections that ended.

        :param token_id: its ``jti``.
        :param until: when it expires; before that it would be good again. Without, as long as one
            that is good now may live.
        :raises NotifierError: not all nodes have answered (50305): these learn of it later.
        """
        told: dict[str, Any] = {"token_id": token_id}
        if until is not None:
            told["until"] = until.timestamp()
        return await self._revoke(told)

    async def revoke_all(self, *, user: str, before: datetime | None = None) -> int:
        """Let no token be good any longer that was issued to a user until now; how many
        connections that ended.

        :param before: a moment that has passed, for those issued before it.
        :raises NotifierError: as :meth:`revoke`.
        """
        told: dict[str, Any] = {"user": user}
        if before is not None:
            told["before"] = before.timestamp()
        return await self._revoke(told)

    async def nodes(self) -> list[Node]:
        """The nodes of the service, the oldest first."""
        answer = await self._requests.get("nodes")
        return _read(answer, lambda found: [Node.of(one) for one in found["nodes"]])

    async def _revoke(self, told: dict[str, Any]) -> int:
        answer = await self._requests.post(
            "revocations",
            body=json.dumps(told).encode(),
            content_type="application/json",
            counted=True,
        )
        return _read(answer, lambda found: int(found["ended"]))


def _read(answer: Answer, read: Callable[[Any], T]) -> T:
    try:
        return read(answer.content)
    except UNREADABLE as error:
        raise BadAnswer(f"the server's answer can't be read: {error!r}") from error
