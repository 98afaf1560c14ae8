"""One HTTP request, without Tornado and without a proxy's settings."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

EXAMPLE = "http://127.0.0.1:8888"


class Unreachable(Exception):
    """No answer came; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    body: str

    def json(self) -> Any:
        """The parsed body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def post_json(
    url: str,
    path: str,
    *,
    body: object,
    timeout: float,
    key: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Post ``body`` to ``path`` below ``url``, which may have a path of its own.

    :param key: who asks: an API key or a token.
    :param tls: instead of the usual trust in certificates.
    :raises ValueError: if ``url`` is none.
    :raises Unreachable: if no whole answer came.
    """
    parts, port = _split(url)
    host = parts.hostname or ""
    connection = (
        HTTPSConnection(host, port, timeout=timeout, context=tls)
        if parts.scheme == "https"
        else HTTPConnection(host, port, timeout=timeout)
    )
    headers = {"Content-Type": "application/json", "User-Agent": "notifier"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    try:
        connection.request(
            "POST",
            parts.path.rstrip("/") + path,
            body=json.dumps(body).encode(),
            headers=headers,
        )
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        return Answer(response.status, response.reason, text)
    except TimeoutError:
        raise Unreachable(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from None
    except HTTPException as error:
        raise Unreachable(f"what answers there is no HTTP server ({error})") from None
    finally:
        connection.close()


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL such as {EXAMPLE}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as {EXAMPLE}")
    return parts, port
