"""One row of the URL table."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tornado.web import RequestHandler

from handlers.described import Operations, check_described
from handlers.policy import Policy


@dataclass(frozen=True, slots=True)
class Route:
    """Where a handler is, and who may use it.

    :param path: ``{channel}`` stands for a part of it, ``{file*}`` for several.
    :param more: arguments of the handler, besides the node and the policy.
    """

    path: str
    handler: type[RequestHandler]
    policy: Policy
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def regex(self) -> str:
        """As Tornado wants it."""
        return re.sub(r"{\w+}", "([^/]+)", re.sub(r"{\w+\*}", "(.+)", self.path))

    @property
    def operations(self) -> Operations:
        """What its handler says of itself, by method."""
        described: Operations = getattr(self.handler, "describes", {})
        return described

    def check(self, methods: tuple[str, ...]) -> None:
        """See that nothing is missing.

        :param methods: those that the handler has.
        :raises ValueError: it does not say of each who may use it, and what it is.
        """
        self.policy.check_methods(self.path, methods)
        check_described(self.path, methods, self.operations)
