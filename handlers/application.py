"""The Tornado application: a request finds its route, past all that is the same for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from tornado.escape import url_unescape
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application, OutputTransform, RequestHandler, url

from handlers import door
from handlers.arrival import Arrival
from handlers.auditing import log_answer
from handlers.base import Handler, NotAllowed, NotFound, WholeServer
from handlers.cors import Sharing
from handlers.forwarded import Proxies
from handlers.hsts import StrictTransport
from handlers.malformed import Malformed
from handlers.patience import Patience
from handlers.policy import Policy
from handlers.routes import routes
from handlers.target import SERVER
from handlers.whole import Whole, comes_whole
from notifier.node import Node


def application(node: Node, static: Path, patience: Patience) -> Application:
    """The Tornado application.

    :param static: the folder of the page's files.
    :param patience: looks after the connections.
    :raises ValueError: a route does not say who may use it, or what it is.
    """
    allowed, proxies = node.settings.allowed_origins, node.settings.trusted_proxies
    # Tornado takes whatever makes one of a request.
    transforms: list[Callable[[HTTPServerRequest], OutputTransform]] = []
    if allowed:
        transforms.append(partial(Sharing, allowed=allowed))
    if seconds := int(node.settings.hsts_max_age):
        transforms.append(partial(StrictTransport, seconds=seconds))
    table = routes(node, static)
    for route in table:
        route.check(door.allowed_methods(route.handler))
    made = _Application(
        [
            url(route.regex, route.handler, {"node": node, "policy": route.policy} | route.more)
            for route in table
        ],
        patience=patience,
        malformed=Malformed(node.counts, hsts_seconds=int(node.settings.hsts_max_age)),
        default_handler_class=NotFound,
        default_handler_args={"node": node, "policy": Policy()},
        log_function=log_answer,
        transforms=transforms,
    )
    made.resolve = Proxies(proxies).resolve if proxies else None
    return made


class _Application(Application):
    """Finds what serves a request, and refuses a method that the route does not have.

    Before it reads the body: handlers of WebSockets and files can't do it themselves, they get a
    request when it is whole.

    :ivar resolve: finds out who asks, where proxies are trusted; before all else.
    """

    resolve: Callable[[HTTPServerRequest], None] | None = None

    def __init__(
        self, routes: list[URLSpec], *, patience: Patience, malformed: Malformed, **settings: Any
    ) -> None:
        super().__init__(routes, **settings)
        self._patience = patience
        self._malformed = malformed
        # What each of the handlers has, which is not looked for again at each request.
        self._methods = {
            handler: door.allowed_methods(handler)
            for handler in (NotFound, WholeServer, *(route.target for route in routes))
        }
        found = set(chain.from_iterable(self._methods.values()))
        self._everywhere = tuple(m for m in RequestHandler.SUPPORTED_METHODS if m in found)
        # By the first part of the path, so that a request is compared with few.
        self._routes: dict[str, list[URLSpec]] = {}
        for route in routes:
            first = _first_part(route.regex.pattern.removesuffix("$"))
            self._routes.setdefault(first, []).append(route)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        assert isinstance(server_conn, HTTP1ServerConnection)
        assert isinstance(request_conn, HTTP1Connection)
        return Arrival(
            server_conn, request_conn, self._patience, self._malformed, self.find_handler
        )

    def on_close(self, server_conn: object) -> None:
        assert isinstance(server_conn, HTTP1ServerConnection)
        self._patience.closed(server_conn)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        if self.resolve is not None:
            self.resolve(request)
        if request.path == SERVER:
            more = {**self.settings["default_handler_args"], "methods": self._everywhere}
            return self.get_handler_delegate(request, WholeServer, more)
        for route in self._routes.get(_first_part(request.path), ()):
            if found := route.regex.match(request.path):
                path_args = [url_unescape(part, None, plus=False) for part in found.groups()]
                return self.get_handler_delegate(request, route.target, route.kwargs, path_args)
        return self.get_handler_delegate(
            request, self.settings["default_handler_class"], self.settings["default_handler_args"]
        )

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
        lacking = known and request.method not in self._methods[target_class]
        if target_kwargs and lacking and target_class is not NotFound:
            target_kwargs = {
                "node": target_kwargs["node"],
                "policy": target_kwargs["policy"],
                "target": target_class,
            }
            target_class = NotAllowed
        if known and issubclass(target_class, Handler) and comes_whole(target_class, request):
            return Whole(target_class(self, request, **(target_kwargs or {})), path_args or [])
        return super().get_handler_delegate(
            request, target_class, target_kwargs, path_args, path_kwargs
        )


def _first_part(path: str) -> str:
    return path.partition("/")[2].partition("/")[0]
