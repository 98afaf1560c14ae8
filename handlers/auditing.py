"""What is told of an answer when it is on its way: a line of the log, and of the audit log."""

from __future__ import annotations

from tornado.web import RequestHandler

from handlers import door
from handlers.base import Handler
from notifier import audit


def log_answer(handler: RequestHandler) -> None:
    """Tornado's hook."""
    door.log_request(handler)
    if isinstance(handler, Handler) and handler.acts:
        act = handler.acts.get(handler.request.method or "")
        if act is not None:
            audit.record(
                act,
                who=handler.identity,
                remote=handler.request.remote_ip or "",
                status=handler.get_status(),
                code=handler.refusal_code,
                **(handler.facts or {"path": handler.request.path}),
            )
