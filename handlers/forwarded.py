"""Whose request it is, where a proxy stands between: ``X-Forwarded-For`` and ``-Proto``.

Anybody can send these headers, so they count only from the peers that are named as proxies.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tornado.httputil import HTTPServerRequest

Address = IPv4Address | IPv6Address

# Proxies one behind the other; what stands before so many is nothing they have said.
MAX_HOPS = 32
# Addresses whose trust is remembered: proxies are few, and others may be many.
_REMEMBERED = 1024


class Proxies:
    """The peers whose word is taken.

    :param trusted: addresses and networks.
    :ivar trusts_peer: whether an address is one of theirs.
    """

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks = [ip_network(network) for network in trusted]
        self.trusts_peer = lru_cache(_REMEMBERED)(self._is_trusted)

    def resolve(self, request: HTTPServerRequest) -> None:
        """Set the client's address (``remote_ip``) and the scheme it uses (``protocol``)."""
        if not self.trusts_peer(request.remote_ip):
            return
        hops = request.headers.get("X-Forwarded-For")
        if hops is not None:
            request.remote_ip = self._client(hops, str(request.remote_ip))
        # Each proxy adds to the end, or sets it anew: the last word is our peer's.
        scheme = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            request.protocol = scheme

    def _client(self, hops: str, peer: str) -> str:
        """The last who is no proxy of ours; who stands before it is told by that one alone.

        What is no address ends the search: nothing is known beyond the proxy that wrote it.
        """
        found = peer
        for hop in reversed(hops.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            address = parse(hop)
            if address is None:
                break
            found = str(address)
            if not self._trusts(address):
                break
        return found

    def _is_trusted(self, peer: str) -> bool:
        address = parse(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse(text: str) -> Address | None:
    """An address as proxies write it: alone, with a port, in brackets; ``None``: it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener on :: sees IPv4 peers so.
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
