"""What can go wrong on the way, and the server's refusals as exceptions again.

::

    ClientError
    ├── Unreachable    no connection, or it broke before the answer; the same may work later
    ├── BadAnswer      what answers there is no notifier, or something in front of it
    ├── Dismissed      the server closed the connection and does not want us back
    └── Interrupted    publishing many ended before its end; carries how far it came

A refusal is no ClientError but the :class:`notifier.errors.NotifierError` of its code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from notifier.client.answers import Summary
from notifier.errors import NotifierError

# What reading somebody else's JSON can raise: too deep, too large, of another shape.
UNREADABLE = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError),
    *(TypeError, ValueError),
)

# The same again would fail again (RFC 6455 §7.4.1).
_PERMANENT_CODES = frozenset({1002, 1007, 1008, 1009})
# Statuses of proxies and load balancers that pass.
_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class ClientError(Exception):
    """Something between this program and an answer went wrong."""


class Unreachable(ClientError):
    """No connection, or it broke before the answer came. The text says why."""


class BadAnswer(ClientError):
    """An answer that no notifier gives.

    :ivar status: of HTTP; 0 when the answer had none.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def temporary(self) -> bool:
        """Whether it may be another one later: a proxy whose server is away says so."""
        return self.status in _TEMPORARY_STATUSES


class Dismissed(ClientError):
    """The server closed the connection with a code that means: do not come back.

    :ivar code: RFC 6455's, or one of 4500 to 4999.
    :ivar reason: in the server's words.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the server closed the connection: {reason or 'no reason'} ({code})")
        self.code = code
        self.reason = reason


class Interrupted(ClientError):
    """Not all was published. The cause is the exception's ``__cause__``.

    :ivar summary: what became of those before. Of the next few it is not known whether they
        are stored.
    """

    def __init__(self, summary: Summary, cause: Exception) -> None:
        super().__init__(f"ended after {summary.lines} lines: {cause}")
        self.summary = summary


def dismisses(code: int | None) -> bool:
    """Whether a close code means that we are not to come back."""
    return code is not None and (code in _PERMANENT_CODES or 4500 <= code <= 4999)


def is_temporary(problem: Exception) -> bool:
    """Whether the same may work later."""
    if isinstance(problem, NotifierError | BadAnswer):
        return problem.temporary
    return isinstance(problem, Unreachable)


def refusal(error: Mapping[str, Any]) -> NotifierError:
    """The exception that the server raised, made again of what it told."""
    facts = dict(error)
    code = facts.pop("code", None)
    message = str(facts.pop("message", "the server refused"))
    temporary = facts.pop("temporary", False) is True
    facts.pop("docs", None)
    facts.pop("type", None)
    facts.pop("ref", None)
    for known in _family(NotifierError):
        if known.code == code:
            return _with(known(message), facts)
    # Of a newer server: it has a number and behaves like the others.
    members = {"code": code if isinstance(code, int) else 0, "temporary": temporary}
    newer: type[NotifierError] = type("NotifierError", (NotifierError,), members)
    return _with(newer(message), facts)


def retry_after(problem: Exception) -> float:
    """Seconds that the server asks us to stay away; what is no such number is none."""
    if not isinstance(problem, NotifierError):
        return 0.0
    # The header says the same in whole seconds.
    for fact, unit in (("retry_after_ms", 1000.0), ("retry_after", 1.0)):
        told = problem.facts.get(fact)
        # A comparison that NaN fails as well.
        if isinstance(told, int | float) and 0 < told < float("inf"):
            return min(told, 2.0**31) / unit
    return 0.0


def _with(error: NotifierError, facts: dict[str, Any]) -> NotifierError:
    """Not as arguments: the server may call a fact what it likes, also ``self``."""
    error.facts = facts
    return error


def _family(kind: type[NotifierError]) -> Iterator[type[NotifierError]]:
    for child in kind.__subclasses__():
        if child.__module__ == NotifierError.__module__:
            yield child
            yield from _family(child)
