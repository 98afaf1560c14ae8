"""What every request passes: is it for us, may its page ask, and how it is refused."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic_core import to_json
from tornado.httputil import HTTPHeaders, HTTPServerRequest, format_timestamp
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from handlers.policy import Level, Policy
from notifier import logs
from notifier.auth.identity import Identity
from notifier.auth.origin import check_host, check_origin
from notifier.auth.rules import Access
from notifier.auth.scopes import Scope
from notifier.channels import check_name
from notifier.config import Settings
from notifier.errors import (
    BadParameter,
    BadRequest,
    Draining,
    HeaderTooLarge,
    InternalError,
    MethodNotAllowed,
    NoSuchResource,
    NotifierError,
    Unauthenticated,
    UnsupportedCoding,
    without_frames,
)

log = logging.getLogger("notifier.http")

# Scripts and styles of our own only; images from the web, for icons; no framing, no forms.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' https: http: blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

# What a page of ours may not be given, even if it asked.
PERMISSIONS_POLICY = (
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
)


def admit(request: HTTPServerRequest, settings: Settings, policy: Policy) -> bool:
    """Let the request in.

    :return: whether what a browser adds by itself says who asks
        (:func:`~notifier.auth.origin.check_origin`).
    :raises HeaderTooLarge:
    :raises ForeignHost:
    :raises ForeignOrigin:
    """
    limit = settings.max_header_bytes
    if _head_size(request) > limit:
        raise HeaderTooLarge(
            f"The head of the request is over {limit} bytes (setting max_header_bytes).",
            limit=limit,
        )
    if policy.cross_site:
        return False
    check_host(request.headers.get("Host"), bound=settings.host, allowed=settings.allowed_hosts)
    return check_origin(
        request.headers,
        allowed=settings.allowed_origins,
        navigable=policy.navigable and request.method in ("GET", "HEAD"),
    )


def check_need(
    policy: Policy, request: HTTPServerRequest, access: Access, identity: Identity, *path: str
) -> None:
    """See that whoever asks has what the route needs.

    :param path: its parts; the first is the channel, where the scope is about channels and there
        is one.
    :raises BadChannel:
    :raises Unauthenticated:
    :raises Forbidden:
    """
    match policy.need(request.method):
        case Level.PUBLIC:
            pass
        case Level.IDENTIFIED:
            if identity.kind == "anonymous":
                raise Unauthenticated("This is for those who bring a key or a token.")
        case Scope.ADMIN | Scope.METRICS as scope:
            access.check_scope(identity, scope)
        case scope if path:
            access.check(identity, scope, check_name(path[0]))
        case scope if not policy.late:
            access.check_somewhere(identity, scope)


def _head_size(request: HTTPServerRequest) -> int:
    """Bytes of the request line and the headers, as they are usually written."""
    size = len(request.method or "") + len(request.uri or "") + len("  HTTP/1.1\r\n\r\n")
    for name, value in request.headers.get_all():
        size += len(name) + len(value) + 4
    return size


def not_allowed(method: str | None, target: type[RequestHandler]) -> MethodNotAllowed:
    """The refusal of a method that the handler does not have."""
    allow = allowed_methods(target)
    return MethodNotAllowed(
        f"{(method or '?')[:20]} is not allowed here; allowed: {', '.join(allow)}.", allow=allow
    )


def decode(value: bytes, name: str | None) -> str:
    """A part of the URL as text; ``name`` is the parameter's, ``None`` means a part of the path.

    What is not UTF-8 in the path becomes U+FFFD, which no channel and no file has in its name.

    :raises BadParameter:
    """
    if name is None:
        return value.decode(errors="replace")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadParameter(f"The parameter {name[:60]} is not UTF-8.", field=name[:60]) from None


def translate(handler: RequestHandler, error: BaseException | None) -> NotifierError:
    """The refusal that tells the client of an exception."""
    if isinstance(error, NotifierError):
        return error
    if isinstance(error, HTTPError):
        match error.status_code:
            case 403 | 404:  # 403 is what Tornado says of a file outside the static folder
                return nothing_at(handler.request.path)
            case 405:  # a method Tornado has never heard of
                return not_allowed(handler.request.method, type(handler))
            case status if 400 <= status < 500:
                return BadRequest("The request can't be understood.")
    return InternalError("Something went wrong in the server. It has been logged.")


def nothing_at(path: str) -> NoSuchResource:
    return NoSuchResource(f"There is nothing at {path[:100]}.")


def refuse(handler: RequestHandler, error: NotifierError) -> bytes:
    """Set status and headers for the refusal; the body that goes with them."""
    handler.node.counts.errors[error.code] += 1  # type: ignore[attr-defined]
    handler.refusal_code = error.code  # type: ignore[attr-defined]
    handler.set_status(error.status)
    handler.set_header("Content-Type", "application/json; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    if isinstance(error, MethodNotAllowed):
        handler.set_header("Allow", ", ".join(error.facts["allow"]))
    if isinstance(error, UnsupportedCoding):
        handler.set_header("Accept-Encoding", ", ".join(error.facts["accepted"]))
    if error.temporary:
        set_retry_after(handler, error)
    if isinstance(error, Draining):
        part(handler)
    if error.status == 401:
        handler.set_header("WWW-Authenticate", _challenge(error))
        if _knows_challenges(handler.request):
            handler.add_header("WWW-Authenticate", 'Basic realm="notifier"')
    if error.status == 426:
        handler.set_header("Upgrade", "websocket")
        handler.set_header("Sec-WebSocket-Version", "13")
    return to_json({"error": error.describe()}) + b"\n"


def _challenge(error: NotifierError) -> str:
    """RFC 6750 §3."""
    shown = not isinstance(error, Unauthenticated)
    return 'Bearer realm="notifier"' + (', error="invalid_token"' if shown else "")


def _knows_challenges(request: HTTPServerRequest) -> bool:
    """Whether who asks may be told of ``Basic``: tools that show a password wait for that, and
    browsers would make a dialogue of it, in the middle of a page. All browsers call themselves so.
    """
    return not request.headers.get("User-Agent", "").startswith("Mozilla/")


def set_retry_after(handler: RequestHandler, *refusals: NotifierError) -> None:
    """Say when to come again: after the longest wait that one of them tells, and a second at least.

    The header counts in whole seconds (RFC 9110 §10.2.3).
    """
    longest_ms = max(refusal.facts.get("retry_after_ms", 0) for refusal in refusals)
    handler.set_header("Retry-After", str(max(1, math.ceil(longest_ms / 1000))))


def part(handler: RequestHandler) -> None:
    """Have the client come back over another connection (RFC 9112 §9.6): this one leads to a node
    that leaves, also where a balancer would choose another."""
    handler.set_header("Connection", "close")


# Other sites' pages can't have it as an image or script either; handlers/cors.py lets the
# allowed ones.
_ON_EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def set_default_headers(handler: RequestHandler) -> None:
    """On a handler whose headers Tornado has made."""
    handler.clear_header("Server")
    for name, value in _ON_EVERY_ANSWER.items():
        handler.set_header(name, value)


def default_headers() -> HTTPHeaders:
    """What every answer of a :class:`~handlers.base.Handler` has."""
    headers = HTTPHeaders(_ON_EVERY_ANSWER)
    headers["Date"] = _date(int(time.time()))
    return headers


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return format_timestamp(second)


def answer_options(handler: RequestHandler, methods: Sequence[str] | None = None) -> None:
    """:param methods: other than the handler's own."""
    handler.set_header("Allow", ", ".join(methods or allowed_methods(type(handler))))
    handler.set_status(204)


def write_error(handler: RequestHandler, **kwargs: Any) -> None:
    """Tornado's hook for whatever was raised."""
    error = kwargs.get("exc_info", (None,) * 3)[1]
    handler.finish(refuse(handler, translate(handler, error)))
    if error is not None:
        without_frames(error)


def allowed_methods(target: type[RequestHandler]) -> tuple[str, ...]:
    """The methods the handler implements."""
    return tuple(
        method
        for method in RequestHandler.SUPPORTED_METHODS
        if getattr(target, method.lower()) is not getattr(RequestHandler, method.lower())
    )


def log_failure(handler: RequestHandler, error: BaseException | None) -> None:
    """One line for a fault of ours, with its traceback.

    Refusals and broken connections are the client's affair; cancelled is what is under way when
    the process ends.
    """
    if isinstance(error, NotifierError | HTTPError | StreamClosedError | asyncio.CancelledError):
        return
    logs.event(
        log,
        logging.ERROR,
        "request.failed",
        method=handler.request.method,
        path=handler.request.path,
        exc_info=error,
    )


def log_request(handler: RequestHandler) -> None:
    """Tornado's access log: one event per answer, failures louder."""
    status = handler.get_status()
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    if log.isEnabledFor(level):
        request = handler.request
        logs.event(
            log,
            level,
            "request",
            method=request.method,
            path=request.path,
            status=status,
            ms=round(request.request_time() * 1000, 1),
            remote=request.remote_ip,
        )
