"""May this web page, under this host name, talk to us?

Browsers let any site send requests to any server the browser reaches, also to one on loopback.
Two checks keep strangers' pages out: the ``Origin`` (or ``Sec-Fetch-Site``) must be ours, and the
``Host`` must be a name we serve, else a page could rebind its own name to our address and pass
for us (DNS rebinding).

Where any origin is allowed, a stranger's page may ask, but as nobody: what a browser adds by itself
to each request (cookies, a password it once was given) would have it act as the visitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from notifier.errors import ForeignHost, ForeignOrigin

# Among those that are allowed: any there is.
ANY_ORIGIN = "*"


def check_host(host: str | None, *, bound: str, allowed: tuple[str, ...]) -> None:
    """The name must be a loopback name, an IP address, the bound host, or allowed.

    IP addresses are safe: rebinding needs a name. So is a missing Host: browsers send one.

    :raises ForeignHost:
    """
    if host is None or "*" in allowed:
        return
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return
    if name == bound.lower() or name in allowed:
        return
    if not _is_address(name):
        raise ForeignHost(
            f"This server does not serve the host name {name[:100]!r}. If it should, name it in "
            "the setting allowed_hosts."
        )


def check_origin(
    headers: Mapping[str, str], *, allowed: tuple[str, ...], navigable: bool = False
) -> bool:
    """The request must come from our own pages, an allowed site, or no page at all.

    :return: whether what a browser adds by itself says who asks; not where the page may ask only
        because any may.
    :param navigable: following a link from another site is fine: it shows our page.
    :raises ForeignOrigin:
    """
    site = headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none"):
        return True
    origin = headers.get("Origin")
    if site is None and origin is None:
        return True  # not a browser
    if origin is not None:
        if origin != ANY_ORIGIN and origin.lower() in allowed:
            return True
        # Without Sec-Fetch-Site (plain http outside loopback, older browsers) this is all there
        # is to go by. The scheme is left out: a proxy may have taken TLS off.
        if site is None and _authority(origin) == headers.get("Host", "").lower():
            return True
        if ANY_ORIGIN in allowed:
            return False
    if navigable and headers.get("Sec-Fetch-Mode") == "navigate":
        return True
    raise ForeignOrigin(
        f"Pages of {(origin or 'another site')[:100]} may not use this server. If they should, "
        "name the origin in the setting allowed_origins."
    )


def _authority(origin: str) -> str | None:
    """The origin's host and port; ``None`` where it has none ("null", or no URL at all)."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The Host header's name, without port and brackets."""
    host = host.strip().lower().rstrip(".")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")
