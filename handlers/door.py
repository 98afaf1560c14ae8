"""What every request passes: is it for us, may its page ask, and how it is refused."""

from __future__ import annotations

import logging

from pydantic_core import to_json
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from handlers.policy import Policy
from notifier import logs
from notifier.auth.origin import check_host, check_origin
from notifier.config import Settings
from notifier.errors import (
    BadBody,
    BadRequest,
    ForeignOrigin,
    InternalError,
    MethodNotAllowed,
    NoSuchResource,
    NotifierError,
)

log = logging.getLogger("notifier.http")

# Scripts and styles of our own only; images from the web, for icons; no framing, no forms.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' https: http: blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def admit(request: HTTPServerRequest, settings: Settings, policy: Policy) -> None:
    """Let the request in.

    :raises ForeignHost:
    :raises ForeignOrigin:
    """
    if policy.cross_site:
        return
    check_host(request.headers.get("Host"), bound=settings.host, allowed=settings.allowed_hosts)
    check_origin(
        request.headers,
        allowed=settings.allowed_origins,
        navigable=policy.navigable and request.method in ("GET", "HEAD"),
    )


def translate(handler: RequestHandler, error: BaseException | None) -> NotifierError:
    """The refusal that tells the client of an exception."""
    if isinstance(error, NotifierError):
        return error
    if isinstance(error, HTTPError):
        match error.status_code:
            case 404:
                return nothing_at(handler.request.path)
            case 405:
                allow = allowed_methods(handler)
                return MethodNotAllowed(
                    f"{(handler.request.method or '?')[:20]} is not possible here, "
                    f"but {', '.join(allow)} is.",
                    allow=allow,
                )
            case 403:
                return ForeignOrigin(error.log_message or "This is not allowed.")
            case 400:
                return BadBody(error.log_message or "The request can't be understood.")
            case status if 400 <= status < 500:
                return BadRequest(error.log_message or "The request can't be understood.")
    return InternalError("Something went wrong in the server. It has been logged.")


def nothing_at(path: str) -> NoSuchResource:
    return NoSuchResource(f"There is nothing at {path[:100]}.")


def refuse(handler: RequestHandler, error: NotifierError) -> bytes:
    """Set status and headers for the refusal; the body that goes with them."""
    handler.set_status(error.status)
    handler.set_header("Content-Type", "application/json; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    if isinstance(error, MethodNotAllowed):
        handler.set_header("Allow", ", ".join(error.facts["allow"]))
    if error.temporary:
        handler.set_header("Retry-After", "1")
    if error.status == 426:
        handler.set_header("Upgrade", "websocket")
        handler.set_header("Sec-WebSocket-Version", "13")
    return to_json({"error": error.describe()}) + b"\n"


def allowed_methods(handler: RequestHandler) -> list[str]:
    """The methods the handler's class implements."""
    return [
        method
        for method in RequestHandler.SUPPORTED_METHODS
        if getattr(type(handler), method.lower()) is not getattr(RequestHandler, method.lower())
    ]


def log_failure(handler: RequestHandler, error: BaseException | None) -> None:
    """One line for a fault of ours, with its traceback; refusals are the client's affair."""
    if isinstance(error, NotifierError | HTTPError):
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
