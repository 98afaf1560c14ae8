"""What the server answers to requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifier.client.notification import Gap, Notification
from notifier.errors import NotifierError


@dataclass(frozen=True, slots=True)
class Receipt:
    """A notification was stored and announced.

    :param position: its place in the channel; ``None`` in an ephemeral one.
    :param subscribers: connections to the answering node that follow the channel.
    :param repeated: it had been stored before, under the same id.
    """

    id: str
    channel: str
    position: str | None
    subscribers: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One of many that was not stored.

    :param line: its number among them, from 1.
    """

    line: int
    error: NotifierError


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of many.

    :param lines: how many were sent.
    :param stored: how many of them are stored now and were not before.
    :param repeated: how many had been stored before under the same id, also by an earlier try.
    :param failures: the first hundred.
    """

    lines: int = 0
    stored: int = 0
    repeated: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a channel's history.

    :param position: the newest of the channel; ``None`` in an ephemeral one.
    :param recovered: whether all that was asked for is there; if not, ``gap`` says what is
        missing.
    :param next: the ``since`` of the next page (``before`` where the newest come first);
        ``None`` on the last.
    """

    channel: str
    position: str | None
    recovered: bool | None
    publications: tuple[Notification, ...]
    gap: Gap | None = None
    next: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Page:
        channel, gap = answer["channel"], answer.get("gap")
        return cls(
            channel=channel,
            position=answer["position"],
            recovered=answer["recovered"],
            publications=tuple(
                Notification({"type": "notification", "channel": channel, **one})
                for one in answer["publications"]
            ),
            gap=None if gap is None else Gap(channel, gap.get("after"), gap["before"]),
            next=answer.get("next"),
        )


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the server sees it.

    :param position: of its newest publication; ``None`` where it only has subscribers.
    :param publications: how many its history holds.
    :param size: bytes they take.
    :param time: of the newest.
    :param subscribers: connections that follow it, to whichever node.
    """

    name: str
    position: str | None
    publications: int
    size: int
    time: datetime | None
    subscribers: int

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Channel:
        time = answer.get("time")
        return cls(
            name=answer["channel"],
            position=answer["position"],
            publications=answer["publications"],
            size=answer["bytes"],
            time=None if time is None else datetime.fromisoformat(time),
            subscribers=answer["subscribers"],
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A connection that follows a channel.

    :param connection: what the server calls it.
    :param transport: ``websocket``, ``events``, ``stream`` or ``raw``.
    :param since: when it began to.
    :param node: the id of the node it is connected to.
    :param user: whom its token spoke for when it joined; ``None`` without one.
    :param info: what that token told for those who see presence: any JSON.
    """

    connection: str
    transport: str
    since: datetime
    node: str
    user: str | None = None
    info: Any = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Member:
        since = datetime.fromisoformat(answer["since"])
        return cls(
            connection=answer["connection"],
            transport=answer["transport"],
            since=since,
            node=answer["node"],
            user=answer.get("user"),
            info=answer.get("info"),
        )


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is on a channel.

    :param members: ``None`` where the namespace does not show them, or they are too many to name.
    """

    channel: str
    count: int
    members: tuple[Member, ...] | None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Presence:
        members = answer["members"]
        return cls(
            channel=answer["channel"],
            count=answer["count"],
            members=None if members is None else tuple(Member.of(one) for one in members),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One of the server processes that are one service.

    :param host: the name of its machine.
    :param started: when its process began.
    :param connections: clients.
    :param subscriptions: what they follow, each counted; ``channels``: the channels that is.
    :param reason: why it should get no new clients; ``None`` when it should.
    """

    id: str
    host: str
    port: int
    version: str
    started: datetime
    connections: int
    subscriptions: int
    channels: int
    reason: str | None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Node:
        return cls(
            id=answer["node"],
            host=answer["host"],
            port=answer["port"],
            version=answer["version"],
            started=datetime.fromisoformat(answer["started"]),
            connections=answer["connections"],
            subscriptions=answer["subscriptions"],
            channels=answer["channels"],
            reason=answer["reason"],
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's connection, to whichever node.

    :param node: the id of the node.
    :param remote: the address it comes from.
    :param kind: ``token``, ``key`` or ``anonymous``.
    :param name: the token's ``sub``, the key's name; empty for nobody.
    :param since: when it came.
    :param subscriptions: channels and patterns it has asked for.
    :param expires: when its token or key ends; ``None``: never.
    """

    id: str
    node: str
    transport: str
    remote: str
    kind: str
    name: str
    since: datetime
    subscriptions: int
    expires: datetime | None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Connection:
        expires = answer["expires"]
        return cls(
            id=answer["connection"],
            node=answer["node"],
            transport=answer["transport"],
            remote=answer["remote"],
            kind=answer["kind"],
            name=answer["name"],
            since=datetime.fromisoformat(answer["since"]),
            subscriptions=answer["subscriptions"],
            expires=None if expires is None else datetime.fromisoformat(expires),
        )
