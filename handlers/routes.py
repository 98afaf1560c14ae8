"""The URL table: each route, its handler, its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler, url

from handlers import door
from handlers.base import NotFound
from handlers.echo import Echo
from handlers.health import Live, Ready
from handlers.history import ChannelHistory
from handlers.native import NativeSocket
from handlers.notify import Notify, NotifyChannel
from handlers.page import Page
from handlers.policy import Policy
from handlers.static import Static
from notifier.node import Node

OURS = Policy()
OPEN = Policy(cross_site=True)
LINKED = Policy(navigable=True)


def application(node: Node, static: Path) -> Application:
    """The Tornado application.

    :param static: the folder of the page's files.
    """
    table: list[tuple[str, type[RequestHandler], Policy, dict[str, Any]]] = [
        (r"/", Page, LINKED, {"index": static / "index.html"}),
        (r"/static/(.+)", Static, OURS, {"path": str(static)}),
        (r"/ws", NativeSocket, OURS, {}),
        (r"/echo", Echo, OPEN, {}),
        (r"/notify", Notify, OURS, {}),
        (r"/notify/([^/]+)", NotifyChannel, OURS, {}),
        (r"/channels/([^/]+)/history", ChannelHistory, OURS, {}),
        (r"/health/live", Live, OPEN, {}),
        (r"/health/ready", Ready, OPEN, {}),
    ]
    return Application(
        [
            url(path, handler, {"node": node, "policy": policy, **more})
            for path, handler, policy, more in table
        ],
        default_handler_class=NotFound,
        default_handler_args={"node": node, "policy": OURS},
        log_function=door.log_request,
    )
