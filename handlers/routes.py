"""The URL table: each route, its handler, its policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import notifier
from handlers.channels import Channel, ChannelList
from handlers.connections import ConnectionList, OneConnection, OneSubscription
from handlers.description import Description
from handlers.echo import Echo
from handlers.events import Events
from handlers.health import Live, Ready
from handlers.history import ChannelHistory
from handlers.linestream import LineStream
from handlers.metrics import Scrape
from handlers.native import NativeSocket
from handlers.nodes import NodeList
from handlers.notify import Notify, NotifyChannel
from handlers.openapi import document
from handlers.page import Page
from handlers.policy import Level, Need, Policy
from handlers.presence import ChannelPresence
from handlers.raw import RawSocket
from handlers.revocations import RevocationList
from handlers.route import Route
from handlers.settings import SettingList
from handlers.static import Static
from handlers.ticket import NewTicket
from notifier.auth.scopes import Scope
from notifier.metrics import Metrics
from notifier.node import Node
from notifier.wire.deflate import deflating
from notifier.wire.raw import raw
from notifier.wire.websocket import native

# What is for everybody.
PUBLIC: Mapping[str, Need] = {"GET": Level.PUBLIC}
# Each channel that a request names is looked at when it is known.
LISTEN: Mapping[str, Need] = {"GET": Scope.SUBSCRIBE}
PUBLISH: Mapping[str, Need] = {"POST": Scope.PUBLISH}
END: Mapping[str, Need] = {"DELETE": Scope.ADMIN}


def routes(node: Node, static: Path) -> list[Route]:
    """All there are.

    :param static: the folder of the page's files.
    """
    metrics = Metrics(
        node.counts,
        node.state,
        version=notifier.__version__,
        max_connections=node.settings.max_connections,
    )
    # Made once: a publication is encoded once for each format there is.
    framing = deflating(node.settings.deflate_min_bytes) if node.settings.deflate else None
    ws = {"deflated": framing and native("native-deflate", framing)}
    raw_ws = {"deflated": framing and raw("raw-deflate", framing)}
    history: Mapping[str, Need] = {"GET": Scope.HISTORY, "DELETE": Scope.ADMIN}
    revocations: Mapping[str, Need] = {"GET": Scope.ADMIN, "POST": Scope.ADMIN}
    subscription = "/connections/{connection}/subscriptions/{channel}"

    @cache
    def described() -> dict[str, Any]:
        return document(
            table,
            node.access,
            cookie=node.settings.token_cookie,
            longest_name=node.settings.max_channel_name_bytes,
        )

    table = [
        Route("/", Page, Policy(PUBLIC, navigable=True), {"index": static / "index.html"}),
        Route("/static/{file*}", Static, Policy(PUBLIC), {"path": str(static)}),
        Route("/ws", NativeSocket, Policy(LISTEN, late=True), ws),
        Route("/raw/{channel}", RawSocket, Policy(LISTEN), raw_ws),
        Route("/events", Events, Policy(LISTEN)),
        Route("/stream", LineStream, Policy(LISTEN)),
        Route("/echo", Echo, Policy(PUBLIC, cross_site=True)),
        Route("/notify", Notify, Policy(PUBLISH)),
        Route("/notify/{channel}", NotifyChannel, Policy({**PUBLISH, "PUT": Scope.PUBLISH})),
        Route("/channels", ChannelList, Policy(LISTEN)),
        Route("/channels/{channel}", Channel, Policy(LISTEN)),
        Route("/channels/{channel}/history", ChannelHistory, Policy(history)),
        Route("/channels/{channel}/presence", ChannelPresence, Policy({"GET": Scope.PRESENCE})),
        Route("/connections", ConnectionList, Policy({"GET": Scope.ADMIN, **END})),
        Route("/connections/{connection}", OneConnection, Policy(END)),
        Route(subscription, OneSubscription, Policy(END)),
        Route("/nodes", NodeList, Policy({"GET": Scope.ADMIN})),
        Route("/revocations", RevocationList, Policy(revocations)),
        Route("/settings", SettingList, Policy({"GET": Scope.ADMIN})),
        Route("/ticket", NewTicket, Policy({"POST": Level.IDENTIFIED})),
        Route("/metrics", Scrape, Policy({"GET": Scope.METRICS}), {"metrics": metrics}),
        Route("/health/live", Live, Policy(PUBLIC)),
        Route("/health/ready", Ready, Policy(PUBLIC)),
        Route("/openapi.json", Description, Policy(PUBLIC), {"document": described}),
    ]
    return table
