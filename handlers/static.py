"""``/static/``: the page's files and the JavaScript client."""

from __future__ import annotations

from typing import Any

from tornado.web import StaticFileHandler

from handlers import door
from handlers.policy import Policy
from notifier.node import Node


class Static(StaticFileHandler):
    """Revalidated at each use, so that an upgrade is seen at once."""

    def initialize(self, node: Node, policy: Policy, path: str) -> None:  # type: ignore[override]
        super().initialize(path)
        self._node = node
        self._policy = policy

    def prepare(self) -> None:
        door.admit(self.request, self._node.settings, self._policy)

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.finish(door.refuse(self, door.translate(self, error)))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        door.log_failure(self, value)
