"""What a request brings to say who is asking."""

from __future__ import annotations

import base64

from tornado.httputil import HTTPServerRequest, parse_cookie

from handlers.described import Operations
from notifier.auth.tickets import looks_like_ticket
from notifier.auth.tokens import MAX_TOKEN_BYTES
from notifier.errors import BadCredential

# A WebSocket in a browser has no headers to set, but it offers subprotocols.
SUBPROTOCOL = "bearer."
TICKET = "ticket"


def credential_of(
    request: HTTPServerRequest,
    operations: Operations,
    *,
    cookie: str = "",
    ambient: bool = True,
) -> str | None:
    """The key, token or ticket; ``None`` where there is none.

    ==============================  =======================================================
    ``Authorization: Bearer …``     whatever it is
    ``Authorization: Basic …``      as the password, or as the user's name without a password
    ``X-API-Key: …``
    ``Sec-WebSocket-Protocol``      ``bearer.…`` among those that are offered
    ``?ticket=…``                   for ``EventSource``, which has no headers to set
    the cookie                      if the settings name one
    ==============================  =======================================================

    The first of them counts: what is said for this request wins over what a browser adds to all.

    :param operations: what can be done where it goes: a ticket is for some of it alone, and not
        used up by anything else.
    :param cookie: its name; empty: none is looked at.
    :param ambient: whether that counts which browsers add by themselves: the cookie, and Basic, of
        which they remember what the user once gave.
    :raises BadCredential: there is one that can't be read.
    """
    headers = request.headers
    authorization = headers.get("Authorization")
    if authorization is not None and (ambient or not _is_basic(authorization)):
        return _checked(_from_authorization(authorization))
    key = headers.get("X-API-Key")
    if key is not None:
        return _checked(key.strip())
    for name in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if (name := name.strip()).startswith(SUBPROTOCOL):
            return _checked(name.removeprefix(SUBPROTOCOL))
    if TICKET in request.query_arguments:
        operation = operations.get("GET" if request.method == "HEAD" else request.method or "")
        if operation is None or not operation.takes_ticket:
            raise BadCredential(
                "A ticket is for GET of /events, /stream, /ws and /raw alone; it is still good."
            )
        ticket = request.query_arguments[TICKET][-1].decode(errors="replace")
        if not looks_like_ticket(ticket):
            # URLs are logged and kept: what is good for longer must not stand in one.
            raise BadCredential("ticket= in a URL takes a ticket (POST /ticket) and nothing else.")
        return ticket
    return _from_cookie(headers.get("Cookie"), cookie) if cookie and ambient else None


def _is_basic(authorization: str) -> bool:
    return authorization.strip().partition(" ")[0].lower() == "basic"


def _from_authorization(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer":
            return rest
        case "basic":
            try:
                text = base64.b64decode(rest, validate=True).decode()
            except ValueError:  # neither base64 nor UTF-8
                raise BadCredential(
                    "Authorization: Basic is not base64 of name:password."
                ) from None
            name, _, password = text.partition(":")
            return password or name
    raise BadCredential("Authorization is Bearer or Basic here.")


def _from_cookie(header: str | None, name: str) -> str | None:
    if header is None:
        return None
    # Python's own gives up at the first cookie of another application that breaks a rule.
    found = parse_cookie(header).get(name)
    return None if found is None else _checked(found)


def _checked(text: str) -> str:
    if not text or len(text) > MAX_TOKEN_BYTES:
        raise BadCredential(f"A key or a token is 1 to {MAX_TOKEN_BYTES} characters long.")
    return text
