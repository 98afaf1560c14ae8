"""Answers that pages of allowed sites may read (CORS, WHATWG Fetch §3.3)."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

from notifier.auth.origin import ANY_ORIGIN

_PREFLIGHT_SECONDS = 600


class Sharing(OutputTransform):
    """The door lets such a page ask; without these headers its browser keeps the answer from it.

    Errors are shared too, and streams, so this looks at every answer that is on its way out. No
    cookies are: a page of another site shows its own token. Where any site is allowed, a star says
    so, with which no browser shares what it has asked with cookies. Where no site is, there is none
    of this.
    """

    def __init__(self, request: HTTPServerRequest, *, allowed: tuple[str, ...]) -> None:
        self._preflight = request.method == "OPTIONS"
        origin = request.headers.get("Origin")
        self._shared_with = None
        if origin is not None:
            if origin != ANY_ORIGIN and origin.lower() in allowed:
                self._shared_with = origin
            elif ANY_ORIGIN in allowed:
                self._shared_with = ANY_ORIGIN

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if status_code != 101:
            headers.add("Vary", "Origin")
            if self._shared_with is not None:
                self._share(headers, self._shared_with)
        return status_code, headers, chunk

    def _share(self, headers: HTTPHeaders, whom: str) -> None:
        headers["Access-Control-Allow-Origin"] = whom
        headers["Access-Control-Expose-Headers"] = "*"
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if self._preflight:
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
            # The star alone does not cover Authorization.
            headers["Access-Control-Allow-Headers"] = "*, Authorization"
            headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
