"""What a request is about, in each of the forms of RFC 9112 §3.2."""

from __future__ import annotations

import re

from tornado.httputil import HTTPInputError, RequestStartLine

# The second part is what the origin form would be.
_ABSOLUTE = re.compile(
    r"https?://((?:\[[0-9a-f:.]+]|[^][:/?#@]+)(?::[0-9]{0,5})?)((?:[/?][^#]*)?)", re.IGNORECASE
)
# Of the server as a whole.
SERVER = "*"


def read_target(line: RequestStartLine) -> tuple[RequestStartLine, str | None]:
    """The request with its target as a path, and the host that the target names, if it does.

    That host counts, and the header ``Host`` does not (§3.2.2).

    :raises HTTPInputError: the target has none of the forms, or one that its method can't have.
    """
    target = line.path
    if target.startswith("/"):
        return line, None
    if line.method == "CONNECT" or (target == SERVER and line.method == "OPTIONS"):
        return line, None
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise HTTPInputError("the target of the request has none of its forms")
    host, path = found.groups()
    return line._replace(path=path if path.startswith("/") else f"/{path}"), host
