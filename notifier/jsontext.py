"""Reading JSON from strangers."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from notifier.errors import BadJSON

_PLACE = re.compile(r" at line (\d+) column (\d+)$")


def parse_json(text: str | bytes, *, first_line: int = 1) -> Any:
    """The value, by RFC 8259: no NaN, no lone surrogates, nothing after it, bounded depth.

    Of two members with the same name the last counts. A number too large for a double is
    infinite.

    :param first_line: the number of the text's first line in what it was taken from.
    :raises BadJSON: with line and column, both from 1, in characters.
    """
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        problem = str(error)
    place = _PLACE.search(problem)
    line, column = (int(place[1]), int(place[2])) if place else (1, 1)
    # The parser counts bytes, and 0 where a line ends before it has begun.
    before = data.split(b"\n", line)[line - 1][:column]
    column = max(1, len(before.decode(errors="replace")))
    problem = _PLACE.sub("", problem)
    line += first_line - 1
    raise BadJSON(
        f"This is not JSON: {problem} at line {line}, column {column}.", line=line, column=column
    )
