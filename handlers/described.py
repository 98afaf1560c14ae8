"""What a handler says of itself: what it takes, what it answers, and how it refuses.

Each handler has ``describes``, by method. ``openapi.py`` makes the document of it; what a route's
policy already says (who may, and how it is refused who may not) is not said twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from notifier.errors import (
    ConnectingTooFast,
    Draining,
    NotifierError,
    TooManyConnections,
    TooManyConnectionsFromAddress,
    TooManyConnectionsOfUser,
)

# A JSON Schema, or a type that pydantic can make one of.
Shape = object
JSON = "application/json"
TEXT: Mapping[str, object] = {"type": "string"}
# How a connection that is to stay may be refused.
ROOM_ERRORS = (
    ConnectingTooFast,
    TooManyConnectionsFromAddress,
    TooManyConnectionsOfUser,
    TooManyConnections,
    Draining,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something beside the body.

    :param text: what it is for.
    :param required: nothing can be answered without it; each part of a path is.
    :param many: it may be given more than once.
    """

    name: str
    text: str
    shape: Shape = field(default_factory=lambda: TEXT)
    where: Literal["query", "path", "header"] = "query"
    required: bool = False
    many: bool = False
    example: object = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back under one status.

    :param content: by media type.
    :param headers: what each tells, by its name.
    """

    text: str
    content: Mapping[str, Shape] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one handler.

    :param name: in programs that are made from the document; no other has it.
    :param body: by media type.
    :param needs_body: nothing can be answered without it.
    :param errors: beside those that each route has.
    :param takes_ticket: a ticket in the query says who it is.
    """

    name: str
    summary: str
    answers: Mapping[int, Answer]
    text: str = ""
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Shape] | None = None
    needs_body: bool = False
    errors: Sequence[type[NotifierError]] = ()
    takes_ticket: bool = False

    @property
    def query(self) -> frozenset[str]:
        """The names of the parameters that may stand in the query."""
        names = {parameter.name for parameter in self.parameters if parameter.where == "query"}
        return frozenset(names | {"ticket"} if self.takes_ticket else names)


# What a handler says of itself, by method.
Operations = Mapping[str, Operation]


def check_described(path: str, methods: Sequence[str], operations: Operations) -> None:
    """See that each method of a route is described, with each part of its path.

    :raises ValueError: it is not.
    """
    own = {method for method in methods if method not in ("HEAD", "OPTIONS")}
    if own != operations.keys():
        wrong = ", ".join(sorted(own ^ operations.keys()))
        raise ValueError(f"the description of {path} is wrong about {wrong}")
    parts = set(re.findall(r"{(\w+)\*?}", path))
    for method, operation in operations.items():
        told = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
        if told != parts:
            wrong = ", ".join(sorted(told ^ parts))
            raise ValueError(f"the description of {method} {path} is wrong about {wrong}")
