"""The native protocol's messages: JSON objects with ``type`` first.

Each function gives the UTF-8 bytes of one message a server sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json, to_json

from notifier.connectionstate import ConnectionPage, ConnectionState
from notifier.errors import NotifierError
from notifier.history import ChannelOverview, ChannelPage, History
from notifier.instants import format_instant
from notifier.members import Member, Members
from notifier.nodestate import NodeState
from notifier.notification import Gap, Position, Publication

PROTOCOL = "notifier.v1"

Ref = str | int | None


def welcome(*, connection: str, ping_interval_ms: int, time_ms: int, version: str) -> bytes:
    """The first message on a connection."""
    return to_json(
        {
            "type": "welcome",
            "connection": connection,
            "ping_interval_ms": ping_interval_ms,
            "time": format_instant(time_ms),
            "version": version,
        }
    )


def subscribed(
    channel: str,
    *,
    position: Position | None,
    gap: Gap | None,
    pattern: str | None = None,
    ref: Ref = None,
) -> bytes:
    """Everything after ``position`` follows on this connection; the gap came before it.

    :param pattern: what brought the channel, if it was not asked for by name.
    """
    message: dict[str, Any] = {
        "type": "subscribed",
        "channel": channel,
        "position": _text(position),
        "recovered": None if position is None else gap is None,
    }
    if gap is not None:
        message["gap"] = _ends(gap)
    if pattern is not None:
        message["pattern"] = pattern
    return _with_ref(message, ref)


def subscribed_pattern(
    pattern: str, *, channels: int, recovered: bool | None, ref: Ref = None
) -> bytes:
    """Its channels there are have been told before this; others follow as they come to life."""
    return _with_ref(
        {
            "type": "subscribed",
            "channel": pattern,
            "position": None,
            "recovered": recovered,
            "channels": channels,
        },
        ref,
    )


def unsubscribed(channel: str, *, code: int, reason: str, ref: Ref = None) -> bytes:
    """No more of this channel. Code 0: the client asked."""
    return _with_ref(
        {"type": "unsubscribed", "channel": channel, "code": code, "reason": reason}, ref
    )


def reply(result: bytes, ref: Ref) -> bytes:
    """What a command gave, as JSON."""
    return to_json({"type": "reply", "ref": ref})[:-1] + b',"result":' + result + b"}"


def error(refusal: NotifierError, ref: Ref = None) -> bytes:
    """What a command broke; the connection stays."""
    return _with_ref({"type": "error", **refusal.describe()}, ref)


def reconnect(after_ms: int) -> bytes:
    """The node is leaving: stay and receive until then, then come back."""
    return to_json({"type": "reconnect", "after_ms": after_ms})


def presence_now(members: Members) -> bytes:
    """Who is on a channel, for one who is to be told who joins and leaves."""
    # As the object of the HTTP resource, with the event in its place.
    return to_json(
        {"type": "presence", "channel": members.channel, "event": "now"} | _members(members)
    )


def presence_event(channel: str, event: str, *, count: int, member: Member | None = None) -> bytes:
    """Somebody has joined or left, or (``count``) so many are there now.

    :param event: ``join``, ``leave`` or ``count``.
    :param count: how many are there, after that.
    """
    message: dict[str, Any] = {"type": "presence", "channel": channel, "event": event}
    if member is not None:
        message["member"] = _member(member)
    message["count"] = count
    return to_json(message)


def keepalive(since: str | None) -> bytes:
    """Nothing new, and where to go on from, if that can be said in a resume token."""
    return to_json({"type": "keepalive", "since": since})


def end(since: str | None) -> bytes:
    """That is all there is for now, and where to go on from, if that can be said."""
    return to_json({"type": "end", "since": since})


def item(item: Publication | Gap) -> bytes:
    """A publication or a gap, as everybody on the channel gets it."""
    if isinstance(item, Gap):
        return to_json(
            {
                "type": "gap",
                "channel": item.channel,
                **_ends(item),
            }
        )
    return (
        b'{"type":"notification","channel":' + to_json(item.channel) + b"," + members(item) + b"}"
    )


def members(publication: Publication) -> bytes:
    """The members of a publication's JSON object, without channel and braces."""
    place = publication.position
    head = to_json(
        {
            "position": _text(place),
            "offset": None if place is None else place.offset,
            "id": publication.id,
            "time": format_instant(publication.time_ms),
        }
    )[1:-1]
    return head + b"," + publication.body if publication.body else head


def history(page: History) -> bytes:
    """A page of history.

    ``next`` is the ``since`` of the page after it, or its ``before`` where the newest come first;
    null when it is the last.
    """
    gap = page.gap
    last = page.publications[-1].position if page.publications else page.start
    frame = {
        "channel": page.channel,
        "position": _text(page.head),
        "recovered": None if page.head is None else gap is None,
        **({} if gap is None else {"gap": _ends(gap)}),
        "next": _text(last) if page.more else None,
    }
    publications = b",".join(b"{" + members(p) + b"}" for p in page.publications)
    return to_json(frame)[:-1] + b',"publications":[' + publications + b"]}"


def channel(overview: ChannelOverview) -> bytes:
    """What is known of a channel."""
    return to_json(_overview(overview))


def channels(page: ChannelPage) -> bytes:
    """A page of the channels there are. ``next``: the ``after`` of the page after it."""
    return to_json({"channels": [_overview(one) for one in page.channels], "next": page.next})


def members_of_channel(members: Members) -> bytes:
    """Who is on a channel."""
    return to_json(_members(members))


def nodes(nodes: Iterable[NodeState], *, answered_by: str) -> bytes:
    """The nodes of the service."""
    return to_json({"nodes": [_node(node) for node in nodes], "answered_by": answered_by})


def _node(node: NodeState) -> dict[str, Any]:
    return {
        "node": node.id,
        "host": node.host,
        "port": node.port,
        "version": node.version,
        "started": format_instant(node.started_ms),
        "connections": node.connections,
        "subscriptions": node.subscriptions,
        "channels": node.channels,
        "ready": node.reason is None,
        "reason": node.reason,
    }


def connections(page: ConnectionPage) -> bytes:
    """Clients' connections, to whichever node."""
    return to_json({"connections": [_connection(c) for c in page.connections], "next": page.next})


def _connection(state: ConnectionState) -> dict[str, Any]:
    return {
        "connection": state.id,
        "node": state.node,
        "transport": state.transport,
        "remote": state.remote,
        "kind": state.kind,
        "name": state.name,
        "since": format_instant(state.since_ms),
        "subscriptions": state.subscriptions,
        "expires": _moment(state.expires_at),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else format_instant(round(seconds * 1000))


def _members(members: Members) -> dict[str, Any]:
    listed = members.listed
    return {
        "channel": members.channel,
        "count": members.count,
        "members": None if listed is None else [_member(member) for member in listed],
    }


def _member(member: Member) -> dict[str, Any]:
    told = {
        "connection": member.connection,
        "transport": member.transport,
        "since": format_instant(member.since_ms),
        "node": member.node,
    }
    if member.user is not None:
        told["user"] = member.user
    if member.info is not None:
        told["info"] = from_json(member.info)
    return told


def _overview(overview: ChannelOverview) -> dict[str, Any]:
    state = overview.state
    time_ms = None if state is None else state.time_ms
    return {
        "channel": overview.channel,
        "position": None if state is None else str(state.head),
        "publications": 0 if state is None else state.publications,
        "bytes": 0 if state is None else state.size,
        "time": None if time_ms is None else format_instant(time_ms),
        "subscribers": overview.subscribers,
    }


def _ends(gap: Gap) -> dict[str, str | None]:
    return {"after": _text(gap.after), "before": str(gap.before)}


def _text(position: Position | None) -> str | None:
    return None if position is None else str(position)


def _with_ref(message: dict[str, Any], ref: Ref) -> bytes:
    if ref is not None:
        message["ref"] = ref
    return to_json(message)
