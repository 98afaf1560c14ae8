"""``/metrics``: for Prometheus."""

from __future__ import annotations

from typing import ClassVar

from handlers.base import Handler
from handlers.described import TEXT, Answer, Operation, Operations, Parameter
from handlers.policy import Policy
from notifier.metrics import Metrics
from notifier.node import Node


class Scrape(Handler):
    """The text format, or OpenMetrics for those who ask for it."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="scrape",
            summary="What this node does, for Prometheus",
            parameters=(Parameter(name="Accept", where="header", text="Asks for OpenMetrics."),),
            answers={
                200: Answer(
                    "The metrics.", {"text/plain": TEXT, "application/openmetrics-text": TEXT}
                )
            },
        )
    }

    def initialize(  # type: ignore[override]
        self, node: Node, policy: Policy, metrics: Metrics
    ) -> None:
        super().initialize(node, policy)
        self._metrics = metrics

    async def get(self) -> None:
        body, content_type = await self._metrics.exposition(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", content_type)
        self.set_header("Vary", "Accept")
        self.set_header("Cache-Control", "no-store")
        self.finish(body)

    head = get
