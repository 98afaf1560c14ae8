"""The URL table: each route, its handler, its policy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler, url

import notifier
from handlers import door
from handlers.base import NotAllowed, NotFound
from handlers.channels import Channel, ChannelList
from handlers.connections import OneConnection, OneSubscription
from handlers.echo import Echo
from handlers.events import Events
from handlers.health import Live, Ready
from handlers.history import ChannelHistory
from handlers.linestream import LineStream
from handlers.metrics import Scrape
from handlers.native import NativeSocket
from handlers.nodes import NodeList
from handlers.notify import Notify, NotifyChannel
from handlers.page import Page
from handlers.policy import Policy
from handlers.presence import ChannelPresence
from handlers.raw import RawSocket
from handlers.sharing import Sharing
from handlers.static import Static
from notifier.metrics import Metrics
from notifier.node import Node
from notifier.wire.deflate import deflating
from notifier.wire.raw import raw
from notifier.wire.websocket import native

OURS = Policy()
OPEN = Policy(cross_site=True)
LINKED = Policy(navigable=True)


def application(node: Node, static: Path) -> Application:
    """The Tornado application.

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
    table: list[tuple[str, type[RequestHandler], Policy, dict[str, Any]]] = [
        (r"/", Page, LINKED, {"index": static / "index.html"}),
        (r"/static/(.+)", Static, OURS, {"path": str(static)}),
        (r"/ws", NativeSocket, OURS, {"deflated": framing and native("native-deflate", framing)}),
        (r"/raw/([^/]+)", RawSocket, OURS, {"deflated": framing and raw("raw-deflate", framing)}),
        (r"/events", Events, OURS, {}),
        (r"/stream", LineStream, OURS, {}),
        (r"/echo", Echo, OPEN, {}),
        (r"/notify", Notify, OURS, {}),
        (r"/notify/([^/]+)", NotifyChannel, OURS, {}),
        (r"/channels", ChannelList, OURS, {}),
        (r"/channels/([^/]+)", Channel, OURS, {}),
        (r"/channels/([^/]+)/history", ChannelHistory, OURS, {}),
        (r"/channels/([^/]+)/presence", ChannelPresence, OURS, {}),
        (r"/connections/([^/]+)", OneConnection, OURS, {}),
        (r"/connections/([^/]+)/subscriptions/([^/]+)", OneSubscription, OURS, {}),
        (r"/nodes", NodeList, OURS, {}),
        (r"/metrics", Scrape, OURS, {"metrics": metrics}),
        (r"/health/live", Live, OURS, {}),
        (r"/health/ready", Ready, OURS, {}),
    ]
    allowed = node.settings.allowed_origins
    return _Application(
        [
            url(path, handler, {"node": node, "policy": policy, **more})
            for path, handler, policy, more in table
        ],
        default_handler_class=NotFound,
        default_handler_args={"node": node, "policy": OURS},
        log_function=door.log_request,
        # Tornado takes whatever makes one of a request.
        transforms=[partial(Sharing, allowed=allowed)],  # type: ignore[list-item]
    )


class _Application(Application):
    """Refuses a method that a route does not have before it reads the body.

    Handlers of WebSockets and files can't do it themselves: they get a request when it is whole.
    """

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        # One that HTTP does not have is for Tornado to refuse.
        known = request.method in RequestHandler.SUPPORTED_METHODS
        lacking = known and request.method not in door.allowed_methods(target_class)
        if target_kwargs and lacking and target_class is not NotFound:
            target_kwargs = {
                "node": target_kwargs["node"],
                "policy": target_kwargs["policy"],
                "target": target_class,
            }
            target_class = NotAllowed
        return super().get_handler_delegate(
            request, target_class, target_kwargs, path_args, path_kwargs
        )
