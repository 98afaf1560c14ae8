"""Answers that pages of allowed sites may read (CORS, WHATWG Fetch §3.3)."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

_PREFLIGHT_SECONDS = 600


class Sharing(OutputTransform):
    """The door lets such a page ask; without these headers its browser keeps the answer from it.

    Errors are shared too, and streams, so this looks at every answer that is on its way out. No
    cookies are: a page of another site shows its own token. Where no site is allowed, there is none
    of this.
    """

    def __init__(self, request: HTTPServerRequest, *, allowed: tuple[str, ...]) -> None:
        self._preflight = request.method == "OPTIONS"
        self._origin = request.headers.get("Origin", "")
        self._shared = self._origin.lower() in allowed

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if status_code != 101:
            headers.add("Vary", "Origin")
            if self._shared:
                self._share(headers)
        return status_code, headers, chunk

    def _share(self, headers: HTTPHeaders) -> None:
        headers["Access-Control-Allow-Origin"] = self._origin
        headers["Access-Control-Expose-Headers"] = "*"
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if self._preflight:
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
            # The star alone does not cover Authorization.
            headers["Access-Control-Allow-Headers"] = "*, Authorization"
            headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
