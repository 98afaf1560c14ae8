"""Whether others than this machine can reach the server, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from notifier.auth.loopback import is_loopback


def from_elsewhere(settings: Mapping[str, Any]) -> str:
    """Which setting says that it is reached from elsewhere, for a sentence; empty: none does.

    A proxy on this machine brings others to a server that listens on loopback, and that it is
    there shows in the name that they use, or in the proxy's own.

    :param settings: those that are known so far; one that is missing is wrong by itself.
    """
    host = settings.get("host", "localhost")
    if not is_loopback(host):
        return f"on {host}"
    if names := settings.get("allowed_hosts"):
        return f"with allowed_hosts {', '.join(names)}"
    if proxies := settings.get("trusted_proxies"):
        return f"behind the proxies {', '.join(map(str, proxies))} (trusted_proxies)"
    return ""
