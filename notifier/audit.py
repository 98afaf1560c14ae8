"""The audit log: who has done what to the service, or was not let.

One event for each act, of the logger ``notifier.audit``, whatever the setting ``log_level`` is.
"""

from __future__ import annotations

import logging
from typing import Any

from notifier import logs
from notifier.auth.identity import Identity

log = logging.getLogger("notifier.audit")

# Each act, and what is told of it besides who, from where and the outcome.
ACTS = {
    "connection.end": "`path`, which ends with the connection's id",
    "connections.end": "`user` or `key`, and how many connections were `ended`",
    "connections.list": "`user` or `key`, where it was about one",
    "subscription.end": "`path`",
    "history.clear": "`path`, and how many publications were `deleted`",
    "token.revoke": "`token_id` or `user` and `before`, `until`, and how many connections were "
    "`ended`",
    "keys.reload": "`file` (or URL), and how many connections were `ended`; `by` is `signal`, "
    "`watch` or `fetch`",
    "settings.read": "`path`",
}


def record(
    act: str,
    *,
    who: Identity,
    remote: str,
    status: int,
    code: int | None = None,
    **facts: object,
) -> None:
    """Something was asked for over HTTP.

    :param act: one of :data:`ACTS`.
    :param remote: the address it was asked from.
    :param status: of the answer.
    :param code: of the refusal, if it was refused.
    """
    outcome = "done" if status < 400 else "refused" if status < 500 else "failed"
    told = {"kind": who.kind, "who": who.name, "remote": remote, "outcome": outcome}
    _tell(act, told | ({} if code is None else {"code": code}) | facts)


def record_reload(*, by: str, file: str, ended: int | None) -> None:
    """Keys were read anew.

    :param by: ``signal``: somebody asked for it; ``watch``: the file had changed; ``fetch``: what
        is at the URL had.
    :param file: or a URL.
    :param ended: connections; ``None``: it can't be used, and nothing has changed.
    """
    outcome = {"outcome": "failed"} if ended is None else {"outcome": "done", "ended": ended}
    _tell("keys.reload", {"by": by, "file": file, **outcome})


def _tell(act: str, told: dict[str, Any]) -> None:
    logs.event(log, logging.INFO, act, **told)
