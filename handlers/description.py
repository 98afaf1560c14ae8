"""``/openapi.json``: what this service answers to, for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic_core import to_json

from handlers import answers
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations
from handlers.policy import Policy
from notifier.node import Node


class Description(Handler):
    """The OpenAPI document."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="describe",
            summary="This document",
            answers={200: Answer("It.", {JSON: answers.Document})},
        )
    }

    def initialize(  # type: ignore[override]
        self, node: Node, policy: Policy, document: Callable[[], dict[str, object]]
    ) -> None:
        super().initialize(node, policy)
        self._document = document

    def get(self) -> None:
        self.answer_json(to_json(self._document()))

    head = get
