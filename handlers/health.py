"""``/health/live`` and ``/health/ready``."""

from __future__ import annotations

from handlers.base import Handler


class Live(Handler):
    """The process answers."""

    def get(self) -> None:
        self.answer({"status": "ok"})

    head = get


class Ready(Handler):
    """The node should get clients; 503 with the reason when it should not."""

    def get(self) -> None:
        reason = self.node.not_ready()
        if reason is None:
            self.answer({"status": "ok"})
        else:
            self.set_header("Retry-After", "1")
            self.answer({"status": "not ready", "reason": reason}, status=503)

    head = get
