"""A document from the web, without Tornado and without a proxy's settings."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from notifier.cli.post import Unreachable


def get_document(url: str, *, limit: int, timeout: float) -> bytes:
    """What is at this URL; redirects are not followed.

    :param limit: bytes; more are refused.
    :raises Unreachable: if it did not come as a whole.
    """
    parts = urlsplit(url)
    connection_class = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connection_class(parts.hostname or "", parts.port, timeout=timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "notifier"})
        response = connection.getresponse()
        content = response.read(limit + 1)
    except TimeoutError:
        raise Unreachable(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from None
    except (HTTPException, ValueError) as error:
        raise Unreachable(f"no answer that can be read ({error})") from None
    finally:
        connection.close()
    if response.status != 200:
        raise Unreachable(f"it answered {response.status} {response.reason}")
    if len(content) > limit:
        raise Unreachable(f"it is longer than {limit} bytes")
    return content
