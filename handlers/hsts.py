"""``Strict-Transport-Security`` (RFC 6797), where the setting ``hsts_max_age`` asks for it."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform


class StrictTransport(OutputTransform):
    """On answers over HTTPS alone: ours, or that of a proxy whose word is taken."""

    def __init__(self, request: HTTPServerRequest, *, seconds: int) -> None:
        self._policy = f"max-age={seconds}" if request.protocol == "https" else ""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        if self._policy:
            headers["Strict-Transport-Security"] = self._policy
        return status_code, headers, chunk
