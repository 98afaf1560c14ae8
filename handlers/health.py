"""``/health/live`` and ``/health/ready``."""

from __future__ import annotations

from typing import ClassVar

from handlers import answers
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations


class Live(Handler):
    """The process answers."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="is_alive",
            summary="Whether the process answers",
            answers={200: Answer("It does.", {JSON: answers.Healthy})},
        )
    }

    def get(self) -> None:
        self.answer({"status": "ok"})

    head = get


class Ready(Handler):
    """The node should get clients; 503 with the reason when it should not."""

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="is_ready",
            summary="Whether this node should get clients",
            answers={
                200: Answer("It should.", {JSON: answers.Healthy}),
                503: Answer("It should not.", {JSON: answers.NotReady}),
            },
        )
    }

    def get(self) -> None:
        reason = self.node.not_ready()
        if reason is None:
            self.answer({"status": "ok"})
        else:
            self.set_header("Retry-After", "1")
            self.answer({"status": "not ready", "reason": reason}, status=503)

    head = get
