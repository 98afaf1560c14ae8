"""``/health/live`` and ``/health/ready``."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from handlers import answers
from handlers.base import Handler
from handlers.credential import credential_of
from handlers.described import JSON, Answer, Operation, Operations
from notifier.auth.identity import ANYBODY
from notifier.auth.scopes import Scope
from notifier.errors import NotifierError

# Where the broker is, and what it says, is nobody else's business.
WITHHELD = "The broker can't be relied on; a key with the scope metrics or admin is told why."


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
            text="Why not is told to those with the scope `metrics` or `admin`.",
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
            if not self.node.connections.draining and not self._is_trusted():
                reason = WITHHELD
            self.answer({"status": "not ready", "reason": reason}, status=503)

    head = get

    def _is_trusted(self) -> bool:
        """Whether whoever asks may be told where the broker is. Nobody has to say who it is here,
        so a key that is not good is none.
        """
        access, identity = self.node.access, ANYBODY
        with suppress(NotifierError):
            credential = credential_of(self.request, self.describes, ambient=self._ambient)
            # What takes waiting is no key, and only keys have these scopes.
            identity = (credential and self.node.authenticator.at_once(credential)) or ANYBODY
        for scope in (Scope.METRICS, Scope.ADMIN):
            with suppress(NotifierError):
                access.check_scope(identity, scope)
                return True
        return False
