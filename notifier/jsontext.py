"""Reading JSON from strangers."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from notifier.errors import BadJSON

_PLACE = re.compile(r" at line (\d+) column (\d+)$")


def parse_json(text: str | bytes) -> Any:
    """The value, by RFC 8259: no NaN, no lone surrogates, nothing after it, bounded depth.

    :raises BadJSON: with line and column.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        problem = str(error)
    place = _PLACE.search(problem)
    line, column = (int(place[1]), int(place[2])) if place else (1, 1)
    problem = _PLACE.sub("", problem)
    raise BadJSON(
        f"This is not JSON: {problem} at line {line}, column {column}.", line=line, column=column
    )
